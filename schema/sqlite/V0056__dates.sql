-- A month of one modality is found in the index alone.
drop index worklist_date;
create index worklist_date on worklist (study_date, study, modalities, arrived_at);

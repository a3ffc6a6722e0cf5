-- Lists by time and search of findings across studies.
create index finding_code on finding (code, analysis);
create index finding_name on finding (finding, analysis);
create index analysis_queued on analysis (queued_at, id);
create index job_created on job (created_at, id);
create index patient_created on patient (created_at, id);

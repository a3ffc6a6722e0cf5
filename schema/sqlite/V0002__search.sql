-- What searches match and return beyond the first columns. Rows that were there before have
-- `derived` = 0 until the next start has filled them (ingest::backfill).

alter table patient add column name_ideographic text not null default ''; -- the second group of the name, for matching
alter table patient add column name_phonetic text not null default '';    -- the third group of the name, for matching
alter table patient add column name_words text not null default '';       -- words of the name without accents, ' DOE JO ', for fuzzy matching
alter table patient add column name_sounds text not null default '';      -- how these words sound, ' T J ', for fuzzy matching
alter table patient add column derived bigint not null default 0;         -- which derivation filled the columns above

alter table study add column referring_ideographic text not null default ''; -- as of the patient's name
alter table study add column referring_phonetic text not null default '';
alter table study add column referring_words text not null default '';
alter table study add column referring_sounds text not null default '';
alter table study add column timezone_offset text not null default '';       -- Timezone Offset From UTC (0008,0201)
alter table study add column modalities text not null default '';            -- of all series, sorted, '\CT\SR\'; '' for none
alter table study add column derived bigint not null default 0;              -- which derivation filled these columns and `attributes`

alter table series add column request_attributes text not null default '';   -- Request Attributes Sequence (0040,0275) as a DICOM JSON element; '' for none
alter table series add column derived bigint not null default 0;             -- which derivation filled this column and `attributes`

-- The items of Request Attributes Sequence, for those series that have it.
create table series_request (
    series        bigint not null references series (id) on delete cascade,
    item          bigint not null,                  -- position in the sequence, from 0
    step_id       text not null,                    -- Scheduled Procedure Step ID (0040,0009)
    procedure_id  text not null,                    -- Requested Procedure ID (0040,1001)
    primary key (series, item)
);
create index series_request_step on series_request (step_id, series);
create index series_request_procedure on series_request (procedure_id, series);

update study set modalities = coalesce((
    select '\' || string_agg(one.modality, '\' order by one.modality) || '\'
    from (select distinct modality from series where series.study = study.id and modality <> '') one), '');

create index patient_patient_id on patient (patient_id);
create index patient_ideographic on patient (name_ideographic);
create index patient_phonetic on patient (name_phonetic);
create index patient_stale on patient (id) where derived = 0;
create index study_stale on study (id) where derived = 0;
create index series_stale on series (id) where derived = 0;

-- Pages of studies are walked in this order; dates and modalities are matched without their rows.
drop index study_date;
create index study_newest on study (study_date, id, modalities);

-- A modality alone selects most of an archive: keep the order of the pages behind it.
drop index series_modality;
create index series_modality on series (modality, study, series_number, id);

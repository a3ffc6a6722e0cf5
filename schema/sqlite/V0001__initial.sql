-- The index of one installation. Times are microseconds since 1970-01-01 UTC unless said
-- otherwise; UIDs are text; JSON is opaque bytes to SQL. Dates and times of DICOM stay in
-- their DA/TM form, which sorts as text. '' stands for "absent or empty" in text columns
-- that DICOM attributes fill, so that matching needs no null rules.

create table patient (
    id            integer primary key,
    issuer        text not null,    -- Issuer of Patient ID (0010,0021); "study UID" for a study without Patient ID
    patient_id    text not null,    -- Patient ID (0010,0020)
    name          text not null,    -- Patient's Name (0010,0010) in UTF-8, groups separated by '='
    name_folded   text not null,    -- the name for matching: upper case
    birth_date    text not null,
    sex           text not null,
    created_at    bigint not null,
    updated_at    bigint not null,
    unique (issuer, patient_id)
);
create index patient_name on patient (name_folded);

create table study (
    id                  integer primary key,
    patient             bigint not null references patient (id),
    study_uid           text not null unique,
    study_date          text not null,
    study_time          text not null,
    accession_number    text not null,
    study_id            text not null,
    description         text not null,
    referring_physician text not null,
    referring_folded    text not null,
    attributes          blob not null,              -- patient and study level as DICOM JSON, zstd; from the first instance
    series_count        bigint not null default 0,
    instance_count      bigint not null default 0,
    last_instance_at    bigint not null,            -- the clock of completeness: last instance of any series
    created_at          bigint not null,
    updated_at          bigint not null
);
create index study_patient on study (patient);
create index study_date on study (study_date, id);
create index study_accession on study (accession_number);

create table series (
    id                   integer primary key,
    study                bigint not null references study (id),
    series_uid           text not null unique,
    modality             text not null,
    series_number        bigint,
    description          text not null,
    body_part            text not null,
    performed_start_date text not null,             -- (0040,0244)
    performed_start_time text not null,             -- (0040,0245)
    attributes           blob not null,             -- series level as DICOM JSON, zstd; from the first instance
    instance_count       bigint not null default 0,
    created_at           bigint not null,
    updated_at           bigint not null
);
create index series_study on series (study, series_number, id);
create index series_modality on series (modality);

create table instance (
    id                 integer primary key,
    series             bigint not null references series (id),
    study              bigint not null references study (id),
    sop_instance_uid   text not null unique,
    sop_class_uid      text not null,
    transfer_syntax    text not null,
    instance_number    bigint,
    rows               bigint,
    columns            bigint,
    bits_allocated     bigint,
    number_of_frames   bigint,
    blob_key           text not null,               -- where the bytes lie in the object store
    size_bytes         bigint not null,             -- of the stored Part 10 file
    sha256             blob not null,               -- of the stored file
    dataset_sha256     blob not null,               -- of the data set without file meta: equal digests are the same object
    layout             blob not null,               -- frame table and bulk-data table (ingest::layout), zstd
    metadata           blob not null,               -- the instance as DICOM JSON with BulkDataURIs, zstd
    source             text not null,               -- dimse, stow, import, analysis
    source_aet         text not null,               -- calling AE title; '' for HTTP and import
    created_at         bigint not null
);
create index instance_series on instance (series, instance_number, id);
create index instance_study on instance (study, id);
create index instance_blob on instance (blob_key);

-- One row per change of the archive, in commit order; readers resume by sequence.
create table change (
    sequence          integer primary key autoincrement,
    at                bigint not null,
    kind              text not null,                -- instance-stored, analysis-done, report-created
    study_uid         text not null,
    series_uid        text,
    sop_instance_uid  text,
    subject           text                          -- id of the analysis or report
);

-- Work to be done; the jobs module holds the table of allowed edges.
create table job (
    id           text primary key,
    kind         text not null,                     -- complete-study, analyse-study
    payload      blob not null,                     -- JSON; never a patient attribute
    dedupe_key   text not null,                     -- one open job per key
    state        text not null,                     -- queued, leased, done, dead
    reason       text,                              -- why it waits or how it ended, for people
    run_after    bigint not null,
    lease_until  bigint,
    lease_owner  text,
    attempts     bigint not null default 0,
    created_at   bigint not null,
    updated_at   bigint not null
);
create unique index job_one_open on job (dedupe_key) where state in ('queued', 'leased');
create index job_ready on job (state, run_after);

-- Every decision to analyse or not.
create table decision (
    id            integer primary key,
    study_uid     text not null,
    at            bigint not null,
    verdict       text not null,                    -- analyse, skip, wait
    rule          text not null,                    -- which rule or guard spoke
    pipeline      text,
    reason        text not null                     -- a sentence for people
);
create index decision_study on decision (study_uid, id);

-- The unique key makes an analysis exactly-once per study content and pipeline.
create table analysis (
    id              text primary key,
    study_uid       text not null,
    pipeline        text not null,
    content_sha256  text not null,                  -- over the sorted UIDs and digests of the analysed content
    state           text not null,                  -- queued, running, waiting, done, failed, cancelled
    reason          text,                           -- what it waits for or why it failed, for people
    trigger_kind    text not null,                  -- rule, request
    supersedes      text,                           -- the analysis whose results this one replaces
    superseded_by   text,
    provenance      blob,                           -- model, prompt, settings, usage: JSON
    answer          text,                           -- the model's answer, verbatim
    inputs          blob,                           -- instances and frames the model saw, in prompt order: JSON
    impression      text,
    queued_at       bigint not null,
    started_at      bigint,
    finished_at     bigint,
    unique (study_uid, pipeline, content_sha256)
);
create index analysis_study on analysis (study_uid, queued_at);
create index analysis_state on analysis (state);

create table finding (
    id               text primary key,
    analysis         text not null references analysis (id),
    ordinal          bigint not null,
    finding          text not null,
    location         text not null,
    laterality       text not null,
    certainty        text not null,
    severity         text,
    code             text,                          -- scheme|value|meaning; null when unmapped
    sop_instance_uid text,                          -- where it was seen
    frame            bigint,
    region           text,                          -- pixels of that frame, JSON {x0,y0,x1,y1}
    remarks          text,                          -- JSON list of sentences
    unique (analysis, ordinal)
);

create table measurement (
    id        text primary key,
    analysis  text not null references analysis (id),
    finding   text not null references finding (id),
    name      text not null,
    value     double precision not null,
    unit      text not null,                        -- UCUM
    method    text not null                         -- model-estimate
);
create index measurement_analysis on measurement (analysis);

create table report (
    id               text primary key,
    study_uid        text not null,
    analysis         text not null unique references analysis (id),
    status           text not null,                 -- draft
    version          bigint not null,
    narrative        blob not null,                 -- JSON
    series_uid_sr    text not null,
    sr_instance_uid  text not null,
    series_uid_pdf   text not null,
    pdf_instance_uid text not null,
    created_at       bigint not null,
    updated_at       bigint not null
);
create index report_study on report (study_uid, created_at);

create table volume (
    id           text primary key,
    study_uid    text not null,
    series_uid   text not null,
    analysis     text not null references analysis (id),
    description  blob not null,                     -- geometry, issues and intensities, JSON
    created_at   bigint not null,
    unique (analysis, series_uid)
);
create index volume_study on volume (study_uid);

-- Who did what. Append-only.
create table audit (
    sequence     integer primary key autoincrement,
    at           bigint not null,
    actor        text not null,                     -- AE title, address or 'system'; never a patient attribute
    action       text not null,
    study_uid    text,
    subject      text,
    outcome      text not null,
    detail       text
);
create index audit_study on audit (study_uid);

-- Who is delivering a study right now: it is not complete while an association that sent
-- some of it is open.
create table delivery (
    id           text not null,                     -- one association
    study_uid    text not null,
    last_at      bigint not null,
    primary key (study_uid, id)
);
create index delivery_id on delivery (id);

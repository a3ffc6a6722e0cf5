-- What people took out of the archive, or are about to: studies and findings in other forms, made as a
-- file that waits for them for some time.

create table download (
    id               text primary key,
    owner            text not null,            -- who asked: user:ID, key:ID, or anonymous without access control
    form             text not null,            -- dicom-zip, deidentified-zip, csv, fhir
    options          blob not null,            -- JSON, as asked; never a patient attribute
    secret           blob,                     -- key of the replacements of a de-identified copy, until it is made
    state            text not null,            -- queued, running, done, failed, cancelled, expired
    reason           text,                     -- how it ended, for people
    studies          bigint not null,          -- how many it has
    instances_total  bigint not null,          -- what was there when it was asked for
    instances_done   bigint not null default 0,
    size_bytes       bigint not null default 0,
    left_out         blob,                     -- JSON list of SOP Instance UIDs with the reason, the first of them
    left_out_count   bigint not null default 0,
    created_at       bigint not null,
    updated_at       bigint not null,
    expires_at       bigint not null           -- its file is deleted then
);
create index download_owner on download (owner, created_at);
create index download_expiry on download (state, expires_at);

create table download_study (
    download   text not null references download (id),
    ordinal    bigint not null,
    study_uid  text not null,
    primary key (download, ordinal)
);

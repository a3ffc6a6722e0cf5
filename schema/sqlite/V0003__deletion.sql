-- Deletion in two steps: rows leave the index at once and their objects are kept until the sweep,
-- so that an operator can take a deletion back. No search and no retrieval looks here before it
-- has found nothing.

-- One row per act of deletion. Kept for ever: who asked for what, and when.
create table deletion (
    id                text primary key,             -- sorts by time
    at                bigint not null,
    actor             text not null,                -- address of the client; never a patient attribute
    reason            text,                         -- as the client gave it
    study_uid         text not null,
    series_uid        text,                         -- null: the whole study
    sop_instance_uid  text,                         -- null: the whole series
    patient           bigint not null               -- row of the patient, who goes with the last study
);

-- What one act took out of the index: all that is needed to answer 410, and, with the object, to
-- store the instance again.
create table deleted_instance (
    id                integer primary key,          -- in the order of arrival
    deletion          text not null references deletion (id),
    deleted_at        bigint not null,
    study_uid         text not null,
    series_uid        text not null,
    sop_instance_uid  text not null,
    sop_class_uid     text not null,
    state             text not null,                -- kept, restored, swept
    blob_key          text,                         -- while kept: where the object lies
    size_bytes        bigint not null,
    sha256            blob not null,                -- of the object
    dataset_sha256    blob not null,
    source            text not null,                -- how it came, see instance
    source_aet        text not null,
    created_at        bigint not null               -- when it came
);
create index deleted_instance_deletion on deleted_instance (deletion, id);
create index deleted_instance_study on deleted_instance (study_uid);
create index deleted_instance_series on deleted_instance (series_uid);
create index deleted_instance_sop on deleted_instance (sop_instance_uid);
create index deleted_instance_blob on deleted_instance (blob_key) where blob_key is not null;
create index deleted_instance_kept on deleted_instance (deleted_at) where state = 'kept';

-- The deletion that took the study of an analysis away; null while it is there. Such an analysis
-- is in no list, and its content_sha256 carries the deletion behind an '@', so that the same
-- content can be analysed anew when it is stored again.
alter table analysis add column deletion text;

-- Where a reader of the change feed begins that asks for a time. A sequence becomes visible in the
-- order of its number: here because one writer commits; an engine with several must take the
-- numbers under a lock that is held until the commit.
create index change_at on change (at, sequence);

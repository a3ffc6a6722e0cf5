-- Uploads of browsers and scripts, and what became of each of their files. Names of files can be those
-- of patients: they are here for the one who sent them, for uploads.retention_h, and nowhere else.
create table upload (
    id              text primary key,
    owner           text not null,                  -- auth::Subject::key
    reach           text not null,                  -- what the owner reached when it began: '*', or groups (uploads::sight)
    kind            text not null,                  -- form, resumable
    state           text not null,                  -- receiving, queued, storing, done, failed, aborted
    name            text,                           -- of the file of a resumable upload
    metadata        text,                           -- Upload-Metadata of a resumable upload, as it came
    bytes_total     bigint,                         -- null where nobody said
    bytes_received  bigint not null,                -- durable: what a resumable upload goes on behind
    reason          text,                           -- why it failed, for people
    created_at      bigint not null,
    updated_at      bigint not null,
    expires_at      bigint,                         -- of a resumable upload that waits for its rest
    finished_at     bigint
);
create index upload_owner on upload (owner, created_at);
create index upload_state on upload (state, updated_at);

create table upload_file (
    upload            text not null references upload (id) on delete cascade,
    ordinal           bigint not null,              -- in the order of the form, or of the zip
    name              text not null,                -- with what could deceive a reader escaped
    outcome           text not null,                -- stored, same, conflict, ignored, refused
    reason            text,                         -- for people
    study_uid         text,
    sop_instance_uid  text,
    primary key (upload, ordinal)
);

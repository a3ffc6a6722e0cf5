-- What is to be sent, and what became of it: one row per object or event and destination. One open
-- job per destination works them off; this table is what it works from and what people look at.

create table export (
    id            integer primary key autoincrement,
    destination   text not null,            -- name of a destination or webhook of the configuration
    subject       text not null,            -- SOP Instance UID, or the id of an event
    event         text,                     -- study-complete, analysis-done, report-signed; null: an object
    study_uid     text not null,
    series_uid    text,                     -- of an object
    content       blob not null,            -- of an object the digest of its data set, of an event its JSON; never a patient attribute
    rule          text not null,            -- what put it here: a rule of the configuration, 'source' or 'request'
    state         text not null,            -- queued, sending, sent, committed, failed, dead
    reason        text,                     -- why it waits or how it ended, for people
    attempts      bigint not null default 0,
    due_at        bigint not null,          -- not to be tried before
    commitment    text,                     -- id of the request for commitment under way
    created_at    bigint not null,          -- when it was asked for, the last time
    updated_at    bigint not null,
    unique (destination, subject)
);
create index export_due on export (destination, state, due_at, created_at);
create index export_study on export (study_uid, id);
create index export_commitment on export (commitment) where commitment is not null;

-- Destinations that a person has stopped.
create table export_pause (
    destination  text primary key,
    at           bigint not null,
    actor        text not null
);

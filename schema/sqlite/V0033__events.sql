-- What happens, for those who watch: studies, analyses, reports, uploads, jobs. In commit order; a
-- reader resumes behind the last sequence that it saw. Kept for events.retention_h. Never a patient
-- attribute.
create table event (
    sequence     integer primary key autoincrement,
    at           bigint not null,
    kind         text not null,                     -- study-received, analysis-tokens, … (db::events::EventKind)
    study_uid    text,                              -- who sees the study sees the event; null where it is about none
    subject      text,                              -- id of the analysis, report, upload, export or job
    owner        text,                              -- who alone sees an event about no study; null: who operates the server
    detail       blob                               -- counts and states, JSON
);
create index event_study on event (study_uid, sequence);
create index event_subject on event (subject, sequence);
create index event_at on event (at);

-- Studies that nobody deletes, for a reason that lies outside the archive: a trial, a complaint.
-- Rows are kept for ever: who held what, why, and until when.
create table hold (
    id           text primary key,              -- sorts by time
    study_uid    text not null,                 -- there is such a study as long as it is held
    reason       text not null,                 -- in the words of who placed it; shown to whoever may delete
    actor        text not null,                 -- who placed it, by name
    at           bigint not null,               -- when it was placed
    released_at  bigint,                        -- null: the study is held
    released_by  text                           -- who released it, or gave it another reason
);
create unique index hold_study on hold (study_uid) where released_at is null;

-- The list of studies can be narrowed to those that are held.
create trigger worklist_hold_placed after insert on hold begin
    update worklist_clock set version = version + 1;
end;
create trigger worklist_hold_released after update on hold begin
    update worklist_clock set version = version + 1;
end;

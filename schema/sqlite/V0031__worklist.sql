-- The list that people work from: one narrow row per study, with what it is filtered and sorted by.
-- Triggers keep what is derived from other tables, since many statements change those.

alter table study add column search_words text not null default ''; -- words of patient ID, accession number, study ID and description without accents, ' P1 ACC1 CHEST '

create table worklist (
    study        integer primary key references study (id) on delete cascade,
    study_uid    text not null unique,
    status       text not null,                 -- received, analysing, draft, edited, signed
    priority     bigint not null default 0,     -- 0 routine, 1 urgent, 2 stat
    assignee     text not null default '',      -- whom it was given to, the id of a user; '' for nobody
    version      bigint not null default 1,     -- changes of priority and assignee
    arrived_at   bigint not null,               -- when its first instance came
    study_date   text not null,                 -- as in study
    modalities   text not null,                 -- as in study
    words        text not null                  -- patient.name_words and study.search_words, ' DOE JO  P1 ACC1 CHEST '
);
create index worklist_arrived on worklist (arrived_at, study, status, priority);
create index worklist_date on worklist (study_date, study);
create index worklist_priority on worklist (priority, arrived_at, study);
create index worklist_status on worklist (status, arrived_at, study);
create index worklist_assignee on worklist (assignee, arrived_at, study);

-- Moves with whatever the list or its visibility depends on, so that a total is counted once.
create table worklist_clock (
    id       integer primary key,
    version  bigint not null
);
insert into worklist_clock values (1, 1);

-- The newest report decides, but for a draft that an open analysis is about to replace.
create view study_status as select standing.study_uid as study_uid, case
    when standing.report in ('signed', 'addended', 'corrected') then 'signed'
    when standing.report in ('edited', 'addending', 'correcting') then 'edited'
    when standing.is_open = 1 then 'analysing'
    when standing.report is not null then 'draft'
    else 'received' end as status
from (select study.study_uid as study_uid,
    (select report.status from report left join analysis on analysis.id = report.analysis
     where report.study_uid = study.study_uid and (analysis.deletion is null or report.versions > 1)
        and report.status <> 'superseded'
     order by report.created_at desc, report.id desc limit 1) as report,
    exists (select 1 from analysis where analysis.study_uid = study.study_uid
        and analysis.deletion is null and analysis.state in ('queued', 'running', 'waiting')) as is_open
    from study) standing;

update study set search_words = (select ' ' || upper(replace(replace(replace(
    patient.patient_id || ' ' || study.accession_number || ' ' || study.study_id || ' ' || study.description,
    '-', ' '), '_', ' '), '.', ' ')) || ' ' from patient where patient.id = study.patient);
insert into worklist (study, study_uid, status, arrived_at, study_date, modalities, words)
select study.id, study.study_uid, study_status.status, study.created_at, study.study_date, study.modalities,
    patient.name_words || study.search_words
from study join patient on patient.id = study.patient
    join study_status on study_status.study_uid = study.study_uid;

create trigger worklist_study_added after insert on study begin
    insert into worklist (study, study_uid, status, arrived_at, study_date, modalities, words)
    select new.id, new.study_uid, study_status.status, new.created_at, new.study_date, new.modalities,
        patient.name_words || new.search_words
    from patient, study_status where patient.id = new.patient and study_status.study_uid = new.study_uid;
end;

create trigger worklist_study_changed after update of study_date, modalities, search_words, patient on study
when old.study_date <> new.study_date or old.modalities <> new.modalities
    or old.search_words <> new.search_words or old.patient <> new.patient begin
    update worklist set study_date = new.study_date, modalities = new.modalities,
        words = (select patient.name_words || new.search_words
            from patient where patient.id = new.patient)
    where study = new.id;
end;

create trigger worklist_patient_changed after update of name_words on patient
when old.name_words <> new.name_words begin
    update worklist set words = (select new.name_words || study.search_words
        from study where study.id = worklist.study)
    where study in (select id from study where patient = new.id);
end;

create trigger worklist_analysis_added after insert on analysis begin
    update worklist set status = (select status from study_status where study_uid = new.study_uid)
    where study_uid = new.study_uid;
end;

create trigger worklist_analysis_changed after update of state, deletion on analysis
when old.state <> new.state or old.deletion is not new.deletion begin
    update worklist set status = (select status from study_status where study_uid = new.study_uid)
    where study_uid = new.study_uid;
end;

create trigger worklist_report_added after insert on report begin
    update worklist set status = (select status from study_status where study_uid = new.study_uid)
    where study_uid = new.study_uid;
end;

create trigger worklist_report_changed after update of status on report when old.status <> new.status begin
    update worklist set status = (select status from study_status where study_uid = new.study_uid)
    where study_uid = new.study_uid;
end;

create trigger worklist_added after insert on worklist begin
    update worklist_clock set version = version + 1;
end;

create trigger worklist_changed after update on worklist
when old.status <> new.status or old.priority <> new.priority or old.assignee <> new.assignee
    or old.study_date <> new.study_date or old.modalities <> new.modalities or old.words <> new.words begin
    update worklist_clock set version = version + 1;
end;

create trigger worklist_removed after delete on worklist begin
    update worklist_clock set version = version + 1;
end;

create trigger worklist_group_added after insert on study_group begin
    update worklist_clock set version = version + 1;
end;

create trigger worklist_group_removed after delete on study_group begin
    update worklist_clock set version = version + 1;
end;

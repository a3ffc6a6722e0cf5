-- What the tables keep to by themselves.

-- A number moves with every change of the instances that are counted by it.
create function instance_counted() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        -- a series that goes with its instances counts no more
        insert into series_version select id, 1 from series where id = old.series
            on conflict (series) do update set version = series_version.version + 1;
        insert into study_version select id, 1 from study where id = old.study
            on conflict (study) do update set version = study_version.version + 1;
        return null;
    end if;
    insert into series_version values (new.series, 1)
        on conflict (series) do update set version = series_version.version + 1;
    insert into study_version values (new.study, 1)
        on conflict (study) do update set version = study_version.version + 1;
    if tg_op = 'UPDATE' then
        update series_version set version = version + 1 where series = old.series and old.series <> new.series;
        update study_version set version = version + 1 where study = old.study and old.study <> new.study;
    end if;
    return null;
end $$;
create trigger instance_counted after insert or update or delete on instance
    for each row execute function instance_counted();

-- The audit trail is appended to, and shortened behind an anchor; nothing else.
create function audit_is_refused() returns trigger language plpgsql as $$
begin
    raise exception '%', tg_argv[0];
end $$;
create function audit_has_no_gaps() returns trigger language plpgsql as $$
begin
    if new.sequence <> 1 + coalesce((select max(sequence) from audit),
        (select max(through_sequence) from audit_anchor), 0) then
        raise exception 'the audit trail is only appended to';
    end if;
    return new;
end $$;
create function audit_is_not_shortened() returns trigger language plpgsql as $$
begin
    if old.sequence > coalesce((select max(through_sequence) from audit_anchor), 0) then
        raise exception 'the audit trail is only shortened behind an anchor';
    end if;
    return old;
end $$;
create function audit_anchor_is_a_row() returns trigger language plpgsql as $$
begin
    if not exists (select 1 from audit where sequence = new.through_sequence and hash = new.hash) then
        raise exception 'an anchor is a row of the audit trail';
    end if;
    return new;
end $$;
create trigger audit_is_not_changed before update on audit
    for each row execute function audit_is_refused('the audit trail is only appended to');
create trigger audit_is_not_emptied before truncate on audit
    execute function audit_is_refused('the audit trail is only shortened behind an anchor');
create trigger audit_is_not_shortened before delete on audit
    for each row execute function audit_is_not_shortened();
create trigger audit_has_no_gaps before insert on audit
    for each row execute function audit_has_no_gaps();
create trigger audit_anchor_stays before update or delete on audit_anchor
    for each row execute function audit_is_refused('anchors of the audit trail stay');
create trigger audit_anchor_is_a_row before insert on audit_anchor
    for each row execute function audit_anchor_is_a_row();

-- The newest report decides, but for a draft that an open analysis is about to replace.
create view study_status as select standing.study_uid as study_uid, case
    when standing.report in ('signed', 'addended', 'corrected') then 'signed'
    when standing.report in ('edited', 'addending', 'correcting') then 'edited'
    when standing.is_open then 'analysing'
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

-- The worklist follows what it is derived from.
create function worklist_study_added() returns trigger language plpgsql as $$
begin
    insert into worklist (study, study_uid, status, arrived_at, study_date, modalities, words)
    select new.id, new.study_uid, study_status.status, new.created_at, new.study_date, new.modalities,
        patient.name_words || new.search_words
    from patient, study_status where patient.id = new.patient and study_status.study_uid = new.study_uid;
    return null;
end $$;
create function worklist_study_changed() returns trigger language plpgsql as $$
begin
    update worklist set study_date = new.study_date, modalities = new.modalities,
        words = (select patient.name_words || new.search_words from patient where patient.id = new.patient)
    where study = new.id;
    return null;
end $$;
create function worklist_patient_changed() returns trigger language plpgsql as $$
begin
    update worklist set words = new.name_words || study.search_words
    from study where study.id = worklist.study and study.patient = new.id;
    return null;
end $$;
create function worklist_status_changed() returns trigger language plpgsql as $$
begin
    update worklist set status = (select status from study_status where study_uid = new.study_uid)
    where study_uid = new.study_uid;
    return null;
end $$;
create trigger worklist_study_added after insert on study
    for each row execute function worklist_study_added();
create trigger worklist_study_changed after update of study_date, modalities, search_words, patient on study
    for each row when (old.study_date <> new.study_date or old.modalities <> new.modalities
        or old.search_words <> new.search_words or old.patient <> new.patient)
    execute function worklist_study_changed();
create trigger worklist_patient_changed after update of name_words on patient
    for each row when (old.name_words <> new.name_words) execute function worklist_patient_changed();
create trigger worklist_analysis_added after insert on analysis
    for each row execute function worklist_status_changed();
create trigger worklist_analysis_changed after update of state, deletion on analysis
    for each row when (old.state <> new.state or old.deletion is distinct from new.deletion)
    execute function worklist_status_changed();
create trigger worklist_report_added after insert on report
    for each row execute function worklist_status_changed();
create trigger worklist_report_changed after update of status on report
    for each row when (old.status <> new.status) execute function worklist_status_changed();

-- Counted in one of several rows, so that two writers do not wait for each other until their commits.
insert into worklist_clock values (0, 1);
create function worklist_moved() returns trigger language plpgsql as $$
begin
    insert into worklist_clock values (pg_backend_pid() % 64, 1)
        on conflict (id) do update set version = worklist_clock.version + 1;
    return null;
end $$;
create trigger worklist_moved after insert or delete on worklist
    for each row execute function worklist_moved();
create trigger worklist_changed after update on worklist
    for each row when (old.status <> new.status or old.priority <> new.priority or old.assignee <> new.assignee
        or old.study_date <> new.study_date or old.modalities <> new.modalities or old.words <> new.words)
    execute function worklist_moved();
create trigger worklist_group_moved after insert or delete on study_group
    for each row execute function worklist_moved();

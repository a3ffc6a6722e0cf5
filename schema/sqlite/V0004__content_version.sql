-- A number that is different whenever what a study or a series holds is different, so that its
-- entity tag costs one row however many instances there are. Triggers keep it, since every way of
-- adding, replacing and removing instances has to.
create table study_version (
    study    integer primary key references study (id) on delete cascade,
    version  bigint not null                -- changes of its instances so far
);
create table series_version (
    series   integer primary key references series (id) on delete cascade,
    version  bigint not null                -- changes of its instances so far
);

create trigger instance_added after insert on instance begin
    insert into series_version values (new.series, 1) on conflict (series) do update set version = version + 1;
    insert into study_version values (new.study, 1) on conflict (study) do update set version = version + 1;
end;

create trigger instance_changed after update on instance begin
    insert into series_version values (new.series, 1) on conflict (series) do update set version = version + 1;
    insert into study_version values (new.study, 1) on conflict (study) do update set version = version + 1;
    update series_version set version = version + 1 where series = old.series and old.series <> new.series;
    update study_version set version = version + 1 where study = old.study and old.study <> new.study;
end;

create trigger instance_removed after delete on instance begin
    insert into series_version values (old.series, 1) on conflict (series) do update set version = version + 1;
    insert into study_version values (old.study, 1) on conflict (study) do update set version = version + 1;
end;

-- The instances of a series in the order of arrival, which is how retrievals read them.
create index instance_arrival on instance (series, id);

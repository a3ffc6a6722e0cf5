-- Owner groups: which studies somebody sees who does not reach everything.

create table owner_group (
    id          integer primary key autoincrement, -- never given again
    name        text not null unique,
    version     bigint not null default 1,      -- of the name and the members, for If-Match
    created_at  bigint not null,
    updated_at  bigint not null
);

create table group_member (
    owner_group  bigint not null references owner_group (id) on delete cascade,
    kind         text not null,                 -- user, api-key
    member       text not null,                 -- id of the user or the key
    added_at     bigint not null,
    primary key (kind, member, owner_group)
);
create index group_member_group on group_member (owner_group);

-- A study belongs to none or several. By its UID: what refers to a study that is deleted, or was,
-- is seen by those who saw it, and nobody else takes the UID over.
create table study_group (
    study_uid    text not null,
    owner_group  bigint not null references owner_group (id) on delete cascade,
    added_at     bigint not null,
    primary key (study_uid, owner_group)
);
create index study_group_group on study_group (owner_group, study_uid);

-- Which archive this is: the store of its objects names it too, so that no other one sweeps them.
create table archive (
    one          bigint primary key,                -- 1: there is one row
    id           text not null                      -- made with the archive; another one where it was migrated to
);

-- An archive that is on its way here from another database or store; no row once all of it is here.
create table migration (
    archive      text primary key,                  -- id of the archive that it comes from
    becomes      text not null,                     -- id that it has here
    route        text not null,                     -- places it goes from and to, without credentials
    head         blob not null,                     -- hash of the last audit row there: another one once it was written to
    begun_at     bigint not null
);

-- How far it has come.
create table migration_part (
    part         text primary key,                  -- objects, deleted-objects, or the name of a table
    last         text not null                      -- key of the last row that is here with what it refers to, JSON list
);

-- What one server says to the next, and about itself.
alter table job add column trace text;                 -- W3C traceparent of what queued it last
alter table export add column trace text;              -- W3C traceparent of what made it

create table heartbeat (
    server       text primary key,                     -- Device Serial Number of the installation
    at           bigint not null                       -- its last write
);

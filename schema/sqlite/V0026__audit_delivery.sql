-- How far each collector of audit messages has taken the trail.
create table audit_delivery (
    collector        text primary key,              -- host and port
    through_sequence bigint not null,               -- the last row that it took
    updated_at       bigint not null
);

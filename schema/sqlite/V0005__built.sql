-- Objects that were put together here from metadata and bulk data. They differ from what was sent,
-- and each from the other; this tells whether the same is sent again.
create table built (
    instance         integer primary key references instance (id) on delete cascade,
    received_sha256  blob not null                  -- of metadata and bulk data as they were received
);

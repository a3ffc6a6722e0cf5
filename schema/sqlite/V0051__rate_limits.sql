-- What requests drew from buckets that instances share.
create table rate_limit (
    bucket   text primary key,  -- digest of the kind of bucket and of whom it bounds
    full_at  bigint not null           -- when it will be full again, if nobody draws more
);
create index rate_limit_full on rate_limit (full_at);

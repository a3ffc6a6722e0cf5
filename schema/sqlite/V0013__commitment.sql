-- Storage commitment: what nodes asked us to commit to, and what we asked of nodes.

create table commitment (
    id               text primary key,             -- sorts by time
    direction        text not null,                -- given: by us to a node; asked: by us of a node
    transaction_uid  text not null,                -- Transaction UID (0008,1195), the requester's
    peer_aet         text not null,                -- who asked us, or whom we asked
    state            text not null,                -- given: accepted, checked, reported, undelivered; asked: asking, awaited, reported, refused
    reason           text,                         -- why it is not further, for people
    asked_at         bigint not null,
    updated_at       bigint not null
);
create index commitment_transaction on commitment (transaction_uid, direction);
create index commitment_state on commitment (direction, state, updated_at);
create index commitment_updated on commitment (updated_at);

-- One row for each reference of a request.
create table commitment_instance (
    commitment        text not null references commitment (id) on delete cascade,
    ordinal           bigint not null,             -- position in the request, from 0
    sop_class_uid     text not null,
    sop_instance_uid  text not null,
    outcome           bigint,                      -- null: not known yet; 0: committed; else the Failure Reason (0008,1197)
    primary key (commitment, ordinal)
);
create index commitment_instance_sop on commitment_instance (sop_instance_uid);

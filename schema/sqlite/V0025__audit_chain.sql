-- The audit trail becomes a chain: each row holds a hash over itself and the row before.

-- What was written before; moved into the chain, in its order, when the index is opened next.
alter table audit rename to audit_unchained;
drop index audit_study;

-- Who did what. Only appended to; the columns are those that `db::audit::chain` names, in their order.
create table audit (
    sequence     integer primary key,               -- without gaps
    at           bigint not null,                   -- when it was done, or began
    began_at     bigint,                            -- when it began, where the row tells of its end
    actor_kind   text not null,                     -- user, api-key, node, system, anonymous
    actor_id     text,                              -- of a user or an API key
    actor_name   text not null,                     -- log-in, name of a key, AE title, address or part of the server
    actor_roles  text not null,                     -- separated by commas
    actor_means  text not null,                     -- how the actor proved who it is
    address      text,                              -- from where
    ae_title     text,                              -- as the peer calls itself
    action       text not null,                     -- `audit::Action`
    study_uid    text,
    object_kind  text,                              -- what object_id is the id of
    object_id    text,
    outcome      text not null,                     -- begun, success, minor-failure, denied, error
    request_id   text,                              -- the request, association or run
    detail       text,                              -- never a patient attribute
    hash         blob not null                      -- SHA-256 over the hash before and every column above
);
create index audit_study on audit (study_uid) where study_uid is not null;
create index audit_request on audit (request_id) where request_id is not null;
create index audit_at on audit (at);

-- What retention has removed: the rows up to and including one, and the hash of that one.
create table audit_anchor (
    through_sequence integer primary key,           -- the last row that was removed
    hash             blob not null,                 -- its hash: what the next row is chained to
    at               bigint not null                -- when it was removed
);

create trigger audit_is_not_changed before update on audit begin
    select raise(abort, 'the audit trail is only appended to');
end;
create trigger audit_is_not_shortened before delete on audit
    when old.sequence > coalesce((select max(through_sequence) from audit_anchor), 0) begin
    select raise(abort, 'the audit trail is only shortened behind an anchor');
end;
create trigger audit_has_no_gaps before insert on audit
    when new.sequence <> 1 + coalesce((select max(sequence) from audit),
        (select max(through_sequence) from audit_anchor), 0) begin
    select raise(abort, 'the audit trail is only appended to');
end;
create trigger audit_anchor_is_not_changed before update on audit_anchor begin
    select raise(abort, 'anchors of the audit trail stay');
end;
create trigger audit_anchor_is_not_removed before delete on audit_anchor begin
    select raise(abort, 'anchors of the audit trail stay');
end;
create trigger audit_anchor_is_a_row before insert on audit_anchor
    when not exists (select 1 from audit where sequence = new.through_sequence and hash = new.hash) begin
    select raise(abort, 'an anchor is a row of the audit trail');
end;

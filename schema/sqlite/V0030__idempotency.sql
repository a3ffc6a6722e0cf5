-- Requests that may be repeated: the first answer to each `Idempotency-Key`, for whichever instance of
-- the server is asked next.
create table idempotency (
    caller       text not null,         -- whose key it is: kind and id of the subject; never a patient attribute
    endpoint     text not null,         -- name of the endpoint and what its path names
    key          text not null,         -- as the client chose it
    claim        text not null,         -- who answers the first request; another one when that was given up
    body_sha256  blob not null,         -- of query and body: the same key asks for the same thing
    state        text not null,         -- open, done
    status       bigint,                -- of the answer, once done
    headers      blob,                  -- of the answer that a client needs, JSON
    answer       blob,                  -- its body
    at           bigint not null,       -- when the first request came
    primary key (caller, endpoint, key)
);
create index idempotency_at on idempotency (at);

-- Keys: of devices and programs, and those that sign access tokens.

create table api_key (
    id             text primary key,    -- the middle of the key as it is shown once
    name           text not null,       -- for the audit
    digest         blob not null,       -- SHA-256 of the secret end of the key
    role           text not null,
    permissions    text,                -- the only ones of the role, names with spaces between; null: all of it
    created_by     text not null,
    created_at     bigint not null,
    expires_at     bigint,
    last_used_at   bigint,              -- to the minute
    revoked_at     bigint,
    revoked_by     text
);

-- Ed25519 keys, one after the other, shared by all servers of this database.
create table signing_key (
    ordinal         bigint primary key, -- from 1; two servers cannot both make the next one
    kid             text not null unique,
    pkcs8           blob not null,      -- private and public key
    created_at      bigint not null,
    signs_from      bigint not null     -- published before that, and known until two more have followed
);

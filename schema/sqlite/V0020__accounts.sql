-- Who may come in: people, their sessions, the keys of devices, and the keys that sign tokens.

create table account (
    id             text primary key,    -- sorts by time
    name           text not null,       -- what is typed at log-in
    name_key       text not null,       -- the name without case; never given twice, so that the audit stays certain
    display_name   text not null,       -- for people and documents
    email          text,
    password       text,                -- argon2id in PHC form; null: only an identity provider lets in
    roles          text not null,       -- names, a space before and behind each
    must_change    bigint not null,     -- 1: the password is to be changed before anything else
    disabled       bigint not null,     -- 1: cannot come in
    issuer         text,                -- the identity provider that knows the account …
    external_id    text,                -- … and its subject there
    created_at     bigint not null,
    updated_at     bigint not null,
    password_at    bigint,              -- when the password was last set
    last_login_at  bigint,
    deleted_at     bigint,              -- the row stays, its name stands in the audit
    version        bigint not null      -- counts changes, for If-Match
);
create unique index account_name on account (name_key);
create unique index account_external on account (issuer, external_id);

create table session (
    id             text primary key,    -- sorts by time
    account        text not null references account (id),
    means          text not null,       -- password, provider
    client         text not null,       -- address that it was begun from
    agent          text,                -- User-Agent that it was begun with, cut
    created_at     bigint not null,
    auth_time      bigint not null,     -- when a secret was last shown
    last_used_at   bigint not null,     -- last refresh
    expires_at     bigint not null,     -- whatever is done with it
    ended_at       bigint,
    ended_why      text                 -- logged-out, revoked, reused-token, password-changed, account-changed, too-many
);
create index session_account on session (account, created_at);
create index session_expires on session (expires_at);

-- Every refresh token that a session had; one that comes twice betrays a thief.
create table refresh_token (
    digest      blob primary key,       -- SHA-256; the token itself is nowhere
    session     text not null references session (id) on delete cascade,
    issued_at   bigint not null,
    expires_at  bigint not null,        -- unused so long
    used_at     bigint
);
create index refresh_token_session on refresh_token (session);

-- Attempts without success, by whom they were for and where they came from.
create table login_failure (
    key       text primary key,         -- digest of a name, or an address
    failures  bigint not null,          -- in a row, one that is under way among them
    last_at   bigint not null,
    before_at bigint                    -- of the failure before the last
);
create index login_failure_last on login_failure (last_at);

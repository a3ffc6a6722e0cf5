-- Log-ins that have gone to an identity provider and are not back.
create table provider_login (
    digest        blob primary key,     -- SHA-256 of the state parameter
    nonce         text not null,        -- comes back in the ID token
    verifier      text not null,        -- PKCE, RFC 7636
    browser       blob not null,        -- SHA-256 of the cookie of the browser that began
    return_to     text not null,        -- path that the browser goes to afterwards
    expires_at    bigint not null
);
create index provider_login_expires on provider_login (expires_at);

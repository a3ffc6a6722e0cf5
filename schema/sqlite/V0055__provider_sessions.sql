-- A session that an identity provider vouched for is asked about again.
alter table session add column vouched_at bigint;           -- when the provider last did; null for sessions that none did for
alter table refresh_token add column provider_token blob;  -- the provider's refresh token, sealed with this one; null where none was granted, and once this one is used
update session set vouched_at = created_at where means = 'provider';

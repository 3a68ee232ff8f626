\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

-- Everything that 0.4.0 changes in 0.3.0; no row of a token or session is touched. The texts are those of the install script.

-- In every standard a replay is the thief's act (RFC 9700, section 4.14.2); this is the client's honest retry.
-- Events that were recorded before keep their old name.
ALTER TYPE auth.refresh_token_status RENAME VALUE 'replayed' TO 'retried';

COMMENT ON COLUMN auth.refresh_token_grant.refresh_token IS 'The token to use from now on; NULL unless the status is issued, rotated, retried or unchanged.';
COMMENT ON COLUMN auth.refresh_token_grant.reason IS 'concurrent or lost_response for retried; not_after, session_lifetime or idle_timeout for expired.';
COMMENT ON COLUMN auth.sessions.refresh_token_hmac_key IS 'The derivation key, base64url. Alone it can mint nothing.';

-- ---- Ended is a state: all versions have ended sessions so that not_after is updated_at ----
COMMENT ON COLUMN auth.sessions.not_after IS 'When the session ends, or was ended: ended once this is not later than updated_at.';


-- ---- The endpoints: what fails is recorded, and an access token can be revoked with its session ----
-- what has to do with no token, of the last minute
CREATE INDEX refresh_token_events_no_token_idx ON auth.refresh_token_events (occurred_at) WHERE token_id IS NULL;
COMMENT ON INDEX auth.refresh_token_events_no_token_idx IS 'Finds the last events that have to do with no token.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, session_evicted, client_mismatch, scope_exceeded or client_authentication_failed; with refresh_tokens.events = all also issued, rotated and retried.';
COMMENT ON COLUMN auth.refresh_token_events.user_id IS 'Whose session it is; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.session_id IS 'The session of the token; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.token_id IS 'The id of the token that was presented, revoked or given; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For client_authentication_failed: the client''s name, as the caller said it. For retried: concurrent or lost_response.';
COMMENT ON COLUMN auth.refresh_token_events.user_agent IS 'The user agent of the caller, if it was given.';
COMMENT ON COLUMN auth.refresh_token_events.ip IS 'The address of the caller, if it was given.';
COMMENT ON VIEW auth.refresh_token_answers IS 'Auth: How often each status was answered, and the authentication of a client failed, in all databases; no row unless the library is preloaded.';
COMMENT ON FUNCTION auth.revoke(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS 'OAuth 2 revocation endpoint: ends the session of a refresh or access token (RFC 7009).';
COMMENT ON FUNCTION auth.revoke(pg_catalog.jsonb) IS 'OAuth 2 revocation endpoint: ends the session of a refresh or access token (RFC 7009).';

\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

-- Everything that 0.4.0 changes in 0.3.0; no row of a token or session is touched. The texts are those of the install script.

-- In every standard a replay is the thief's act (RFC 9700, section 4.14.2); this is the client's honest retry.
-- Events that were recorded before keep their old name.
ALTER TYPE auth.refresh_token_status RENAME VALUE 'replayed' TO 'retried';

COMMENT ON COLUMN auth.refresh_token_grant.refresh_token IS 'The token to use from now on; NULL unless the status is issued, rotated, retried or unchanged.';
COMMENT ON COLUMN auth.refresh_token_grant.reason IS 'concurrent or lost_response for retried; not_after, session_lifetime or idle_timeout for expired.';
COMMENT ON COLUMN auth.sessions.refresh_token_hmac_key IS 'The derivation key, base64url. Alone it can mint nothing.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, session_evicted or client_mismatch; with refresh_tokens.events = all also issued, rotated and retried.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For retried: concurrent or lost_response.';

-- ---- Ended is a state: all versions have ended sessions so that not_after is updated_at ----
COMMENT ON COLUMN auth.sessions.not_after IS 'When the session ends, or was ended: ended once this is not later than updated_at.';

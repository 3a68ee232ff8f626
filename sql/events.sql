-- What happened that somebody should look at (the design's section 7). Append-only: nothing of the
-- extension changes a row, and purge alone deletes one. No foreign key: it outlives what it tells of.
CREATE SEQUENCE auth.refresh_token_events_id_seq AS pg_catalog.int8;

CREATE TABLE auth.refresh_token_events (
    id pg_catalog.int8 NOT NULL DEFAULT pg_catalog.nextval('auth.refresh_token_events_id_seq'::pg_catalog.regclass),
    occurred_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    event pg_catalog.text NOT NULL,
    user_id pg_catalog.varchar(255),
    session_id pg_catalog.uuid,
    token_id pg_catalog.int8,
    reason pg_catalog.text,
    user_agent pg_catalog.text,
    ip pg_catalog.inet,
    CONSTRAINT refresh_token_events_pkey PRIMARY KEY (id)
);

ALTER SEQUENCE auth.refresh_token_events_id_seq OWNED BY auth.refresh_token_events.id;

-- purge
CREATE INDEX refresh_token_events_occurred_at_idx ON auth.refresh_token_events (occurred_at);
-- the same event of the same token once a minute
CREATE INDEX refresh_token_events_token_id_idx ON auth.refresh_token_events (token_id);
-- what has to do with no token, of the last minute
CREATE INDEX refresh_token_events_no_token_idx ON auth.refresh_token_events (occurred_at) WHERE token_id IS NULL;

-- Without row level security: whoever is granted the table may read all of it, and pg_dump would write a policy
-- that CREATE EXTENSION has made out once more.
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events_id_seq', '');

COMMENT ON TABLE auth.refresh_token_events IS 'Auth: Record of what happened to refresh tokens that somebody should look at.';
COMMENT ON SEQUENCE auth.refresh_token_events_id_seq IS 'Auth: Ids of events.';
COMMENT ON COLUMN auth.refresh_token_events.id IS 'The event, in the order of recording.';
COMMENT ON COLUMN auth.refresh_token_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, session_evicted, client_mismatch, scope_exceeded or client_authentication_failed; with refresh_tokens.events = all also issued, rotated and retried.';
COMMENT ON COLUMN auth.refresh_token_events.user_id IS 'Whose session it is; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.session_id IS 'The session of the token; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.token_id IS 'The id of the token that was presented, revoked or given; NULL for client_authentication_failed.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For client_authentication_failed: the client''s name, as the caller said it. For retried: concurrent or lost_response.';
COMMENT ON COLUMN auth.refresh_token_events.user_agent IS 'The user agent of the caller, if it was given.';
COMMENT ON COLUMN auth.refresh_token_events.ip IS 'The address of the caller, if it was given.';
COMMENT ON CONSTRAINT refresh_token_events_pkey ON auth.refresh_token_events IS 'One row an event.';
COMMENT ON INDEX auth.refresh_token_events_occurred_at_idx IS 'Finds the events of a time, and old ones.';
COMMENT ON INDEX auth.refresh_token_events_token_id_idx IS 'Finds the last events of a token.';
COMMENT ON INDEX auth.refresh_token_events_no_token_idx IS 'Finds the last events that have to do with no token.';

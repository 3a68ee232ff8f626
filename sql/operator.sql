-- What those who run the database look at and call: events, purge, figures.

-- What happened that somebody should look at (docs/design.md#events). Append-only: nothing of the
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

-- Without row level security: whoever is granted the table may read all of it, and pg_dump would dump a policy
-- that CREATE EXTENSION creates too, so that a restore would fail.
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events_id_seq', '');

COMMENT ON TABLE auth.refresh_token_events IS 'Auth: Record of what happened to refresh tokens that somebody should look at.';
COMMENT ON SEQUENCE auth.refresh_token_events_id_seq IS 'Auth: Ids of events.';
COMMENT ON COLUMN auth.refresh_token_events.id IS 'The event, in the order of recording.';
COMMENT ON COLUMN auth.refresh_token_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, sessions_revoked, session_evicted, client_mismatch, scope_exceeded or client_authentication_failed; with refresh_tokens.events = all also issued, rotated and retried.';
COMMENT ON COLUMN auth.refresh_token_events.user_id IS 'Whose session it is; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.session_id IS 'The session of the token; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.token_id IS 'The id of the token that was presented, revoked or given; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For client_authentication_failed: the client''s name, as the caller said it. For sessions_revoked: how many. For retried: concurrent or lost_response.';
COMMENT ON COLUMN auth.refresh_token_events.user_agent IS 'The user agent of the caller, if it was given.';
COMMENT ON COLUMN auth.refresh_token_events.ip IS 'The address of the caller, if it was given.';
COMMENT ON CONSTRAINT refresh_token_events_pkey ON auth.refresh_token_events IS 'One row an event.';
COMMENT ON INDEX auth.refresh_token_events_occurred_at_idx IS 'Finds the events of a time, and old ones.';
COMMENT ON INDEX auth.refresh_token_events_token_id_idx IS 'Finds the last events of a token.';
COMMENT ON INDEX auth.refresh_token_events_no_token_idx IS 'Finds the last events that have to do with no token.';

-- Purges till nothing is due, a transaction for each batch, and says how far it is: in application_name while a
-- batch is under way, and in a NOTICE at the end; and which tables of the application's keep sessions from being purged. Runs
-- with the caller's rights and path: with SECURITY DEFINER or a SET of its own, a procedure may not commit. So everything
-- in it is qualified.
--
-- Takes how many rows a batch has at the most. Errors: 2D000 inside of a transaction block and in a function, before
-- anything is purged; those of auth.purge_refresh_tokens, and what was purged before stays so.
CREATE PROCEDURE auth.purge_all(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    batch pg_catalog.int8;
    total pg_catalog.int8 := 0;
    kept record;
BEGIN
    PERFORM auth.begin_batches('purge_all');
    COMMIT;
    LOOP
        -- Till the transaction ends, however it does.
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('purge_all: %s rows', total), true);
        batch := auth.purge_refresh_tokens(batch_size);
        total := total OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.<) batch_size;
    END LOOP;
    RAISE NOTICE 'purge_all: % rows deleted', total;
    FOR kept IN
        SELECT u.referring_table, u.referring_constraint, u.sessions FROM auth.read_unpurgeable_sessions() AS u
    LOOP
        RAISE NOTICE 'purge_all: % keeps % sessions by foreign key "%"',
            kept.referring_table, kept.sessions, kept.referring_constraint
            USING HINT = 'Delete these rows, or give the foreign key ON DELETE CASCADE or SET NULL.';
    END LOOP;
END
$body$;

COMMENT ON PROCEDURE auth.purge_all(pg_catalog.int4) IS 'Purges till nothing is due, a transaction for each batch.';

-- Ends every session, a transaction for each batch: the worst day. In the order of their ids, after the tokens that have no
-- session, since one of these that is rotated meanwhile gets one. Says how far it is as purge_all does, and has its caller's
-- rights and path for the same reason. A user who logs in meanwhile may have to do so once more.
--
-- Takes how many sessions a batch has at the most: for so long others wait. Errors: 2D000 inside of a transaction block and
-- in a function, before any is ended; those of auth.revoke_session_batch, and what was ended before stays so.
CREATE PROCEDURE auth.revoke_all_sessions(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    last_token pg_catalog.int8;
    last_session pg_catalog.uuid;
    batch pg_catalog.int8;
    orphans pg_catalog.int8 := 0;
    total pg_catalog.int8 := 0;
BEGIN
    PERFORM auth.begin_batches('revoke_all_sessions');
    COMMIT;
    LOOP
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('revoke_all_sessions: %s tokens', orphans), true);
        SELECT b.last_token, b.tokens INTO last_token, batch FROM auth.revoke_orphan_batch(last_token, batch_size) AS b;
        orphans := orphans OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.=) 0;
    END LOOP;
    LOOP
        -- Till the transaction ends, however it does.
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('revoke_all_sessions: %s sessions', total), true);
        SELECT b.last_session, b.sessions INTO last_session, batch FROM auth.revoke_session_batch(last_session, batch_size) AS b;
        total := total OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.=) 0;
    END LOOP;
    RAISE NOTICE 'revoke_all_sessions: % sessions ended, and % tokens without a session revoked', total, orphans;
END
$body$;

COMMENT ON PROCEDURE auth.revoke_all_sessions(pg_catalog.int4) IS 'Ends every session, a transaction for each batch.';

CREATE VIEW auth.refresh_token_stats AS
SELECT live_sessions, live_tokens, purgeable_tokens, oldest_purgeable_seconds,
       sessions_table_bytes, sessions_index_bytes, tokens_table_bytes, tokens_index_bytes,
       sessions_dead_rows, tokens_dead_rows, sessions_hot_update_ratio
  FROM auth.read_refresh_token_stats();

COMMENT ON VIEW auth.refresh_token_stats IS 'Auth: Figures about the tables of sessions and tokens, one row.';
COMMENT ON COLUMN auth.refresh_token_stats.live_sessions IS 'Sessions that have not ended.';
COMMENT ON COLUMN auth.refresh_token_stats.live_tokens IS 'Tokens that can be used.';
COMMENT ON COLUMN auth.refresh_token_stats.purgeable_tokens IS 'Tokens that a purge would delete now.';
COMMENT ON COLUMN auth.refresh_token_stats.oldest_purgeable_seconds IS 'For how long a purge could have deleted the one that is due longest, in seconds; 0: none is due.';
COMMENT ON COLUMN auth.refresh_token_stats.sessions_hot_update_ratio IS 'How many of the updates of auth.sessions were HOT, from 0 to 1; NULL: there was none.';

CREATE VIEW auth.refresh_token_answers AS
SELECT status, answers, stats_reset
  FROM auth.read_refresh_token_answers();

COMMENT ON VIEW auth.refresh_token_answers IS 'Auth: How often each status was answered, and the authentication of a client failed, in all databases; no row unless the library is preloaded.';
COMMENT ON COLUMN auth.refresh_token_answers.stats_reset IS 'Since when the answers are counted.';

COMMENT ON FUNCTION auth.draw_token_family(pg_catalog.uuid)
    IS 'The tokens of a session as a tree, a line each, without a secret.';
COMMENT ON FUNCTION auth.read_refresh_token_stats()
    IS 'What auth.refresh_token_stats shows.';
COMMENT ON FUNCTION auth.read_refresh_token_answers()
    IS 'What auth.refresh_token_answers shows.';
COMMENT ON FUNCTION auth.reset_refresh_token_stats()
    IS 'Counts the answers of auth.refresh_token_answers from 0.';
COMMENT ON FUNCTION auth.purge_refresh_tokens(pg_catalog.int4)
    IS 'Deletes one batch of what is over for longer than it is kept, and counts the rows.';
COMMENT ON FUNCTION auth.begin_batches(pg_catalog.text)
    IS 'What a procedure begins with that commits each batch: refuses where it could not.';
COMMENT ON FUNCTION auth.read_unpurgeable_sessions()
    IS 'Which foreign keys of the application''s keep sessions that are due from being purged, and how many.';
COMMENT ON FUNCTION auth.revoke_session_batch(pg_catalog.uuid, pg_catalog.int4)
    IS 'Ends one batch of sessions, in the order of their ids.';
COMMENT ON FUNCTION auth.revoke_orphan_batch(pg_catalog.int8, pg_catalog.int4)
    IS 'Revokes one batch of the live tokens that have no session, in the order of their ids.';

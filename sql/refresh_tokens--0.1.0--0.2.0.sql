\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

-- Everything that 0.2.0 adds to 0.1.0; no row is touched. The texts are those of the install script.

CREATE FUNCTION auth.introspect_refresh_token(
    token pg_catalog.text
) RETURNS jsonb
STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'introspect_refresh_token_wrapper';

CREATE FUNCTION auth.list_my_sessions() RETURNS TABLE (
    session_id pg_catalog.uuid, 
    created_at timestamp with time zone, 
    refreshed_at timestamp with time zone, 
    ip pg_catalog.inet, 
    user_agent pg_catalog.text, 
    tag pg_catalog.text, 
    client_id pg_catalog.text, 
    aal pg_catalog.text, 
    expires_at timestamp with time zone, 
    session_expires_at timestamp with time zone, 
    rotations bigint 
)
STRICT STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_my_sessions_wrapper';

CREATE FUNCTION auth.list_sessions(
    user_id pg_catalog.text
) RETURNS TABLE (
    session_id pg_catalog.uuid, 
    created_at timestamp with time zone, 
    refreshed_at timestamp with time zone, 
    ip pg_catalog.inet, 
    user_agent pg_catalog.text, 
    tag pg_catalog.text, 
    client_id pg_catalog.text, 
    aal pg_catalog.text, 
    expires_at timestamp with time zone, 
    session_expires_at timestamp with time zone, 
    rotations bigint 
)
STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'list_sessions_wrapper';

CREATE FUNCTION auth.purge_refresh_tokens(
    batch_size INT DEFAULT 1000
) RETURNS bigint
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'purge_refresh_tokens_wrapper';

CREATE FUNCTION auth.read_refresh_token_answers() RETURNS TABLE (
    status pg_catalog.text, 
    answers bigint, 
    stats_reset timestamp with time zone 
)
STRICT VOLATILE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'read_refresh_token_answers_wrapper';

CREATE FUNCTION auth.read_refresh_token_stats() RETURNS TABLE (
    live_sessions bigint, 
    live_tokens bigint, 
    purgeable_tokens bigint, 
    oldest_purgeable_seconds double precision, 
    sessions_table_bytes bigint, 
    sessions_index_bytes bigint, 
    tokens_table_bytes bigint, 
    tokens_index_bytes bigint, 
    sessions_dead_rows bigint, 
    tokens_dead_rows bigint, 
    sessions_hot_update_ratio double precision 
)
STRICT STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'read_refresh_token_stats_wrapper';

CREATE FUNCTION auth.reset_refresh_token_stats() RETURNS void
STRICT SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'reset_refresh_token_stats_wrapper';

CREATE FUNCTION auth.revoke_my_other_sessions() RETURNS bigint
STRICT SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'revoke_my_other_sessions_wrapper';

CREATE FUNCTION auth.revoke_my_session(
    session_id pg_catalog.uuid
) RETURNS bigint
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'revoke_my_session_wrapper';

COMMENT ON FUNCTION auth.introspect_refresh_token(pg_catalog.text)
    IS 'What a token is good for, without using it (RFC 7662).';

COMMENT ON FUNCTION auth.list_my_sessions()
    IS 'What auth.my_sessions shows.';

COMMENT ON FUNCTION auth.list_sessions(pg_catalog.text)
    IS 'The live sessions of a user, a row each, without a secret.';

COMMENT ON FUNCTION auth.purge_refresh_tokens(pg_catalog.int4)
    IS 'Deletes one batch of what is over for longer than it is kept, and counts the rows.';

COMMENT ON FUNCTION auth.read_refresh_token_answers()
    IS 'What auth.refresh_token_answers shows.';

COMMENT ON FUNCTION auth.read_refresh_token_stats()
    IS 'What auth.refresh_token_stats shows.';

COMMENT ON FUNCTION auth.reset_refresh_token_stats()
    IS 'Counts the answers of auth.refresh_token_answers from 0.';

COMMENT ON FUNCTION auth.revoke_my_other_sessions()
    IS 'Ends all sessions of the user whom the claims name but the one that they name.';

COMMENT ON FUNCTION auth.revoke_my_session(pg_catalog.uuid)
    IS 'Ends a session of the user whom the claims name.';


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

-- Without row level security: whoever is granted the table may read all of it, and pg_dump would write a policy
-- that CREATE EXTENSION has made out once more.
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_token_events_id_seq', '');

REVOKE ALL ON TABLE auth.refresh_token_events FROM PUBLIC;
REVOKE ALL ON SEQUENCE auth.refresh_token_events_id_seq FROM PUBLIC;

COMMENT ON TABLE auth.refresh_token_events IS 'Auth: Record of what happened to refresh tokens that somebody should look at.';
COMMENT ON SEQUENCE auth.refresh_token_events_id_seq IS 'Auth: Ids of events.';
COMMENT ON COLUMN auth.refresh_token_events.id IS 'The event, in the order of recording.';
COMMENT ON COLUMN auth.refresh_token_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, session_evicted or client_mismatch; with refresh_tokens.events = all also issued, rotated and replayed.';
COMMENT ON COLUMN auth.refresh_token_events.user_id IS 'Whose session it is.';
COMMENT ON COLUMN auth.refresh_token_events.session_id IS 'The session of the token.';
COMMENT ON COLUMN auth.refresh_token_events.token_id IS 'The id of the token that was presented, revoked or given.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For replayed: concurrent or lost_response.';
COMMENT ON COLUMN auth.refresh_token_events.user_agent IS 'The user agent of whoever presented the token, if it was given.';
COMMENT ON COLUMN auth.refresh_token_events.ip IS 'The address of whoever presented the token, if it was given.';
COMMENT ON CONSTRAINT refresh_token_events_pkey ON auth.refresh_token_events IS 'One row an event.';
COMMENT ON INDEX auth.refresh_token_events_occurred_at_idx IS 'Finds the events of a time, and old ones.';
COMMENT ON INDEX auth.refresh_token_events_token_id_idx IS 'Finds the last events of a token.';

-- A user's own sessions, for a role that users act as through a gateway: the rows of the user whom the
-- claims name, and no others. The function behind it looks at nothing but the claims.
CREATE VIEW auth.my_sessions AS
SELECT session_id, created_at, refreshed_at, ip, user_agent, tag, client_id, aal, expires_at, session_expires_at, rotations
  FROM auth.list_my_sessions();

REVOKE ALL ON TABLE auth.my_sessions FROM PUBLIC;

COMMENT ON VIEW auth.my_sessions IS 'Auth: The live sessions of the user whom the claims of the access token name.';

-- Purges till nothing is due, a transaction for each batch, and says how far it is: in application_name while a
-- batch is under way, and in a NOTICE at the end. Runs with the caller's rights and path: with SECURITY DEFINER or
-- a SET of its own, a procedure may not commit. So everything in it is qualified.
--
-- Takes how many rows a batch has at the most. Errors: 2D000 inside of a transaction block and in a function, before
-- anything is purged; those of auth.purge_refresh_tokens, and what was purged before stays so.
CREATE PROCEDURE auth.purge_all(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    batch pg_catalog.int8;
    total pg_catalog.int8 := 0;
BEGIN
    -- Fails here where it would fail after the first batch.
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
END
$body$;

REVOKE ALL ON PROCEDURE auth.purge_all(pg_catalog.int4) FROM PUBLIC;

COMMENT ON PROCEDURE auth.purge_all(pg_catalog.int4) IS 'Purges till nothing is due, a transaction for each batch.';

CREATE VIEW auth.refresh_token_stats AS
SELECT live_sessions, live_tokens, purgeable_tokens, oldest_purgeable_seconds,
       sessions_table_bytes, sessions_index_bytes, tokens_table_bytes, tokens_index_bytes,
       sessions_dead_rows, tokens_dead_rows, sessions_hot_update_ratio
  FROM auth.read_refresh_token_stats();

REVOKE ALL ON TABLE auth.refresh_token_stats FROM PUBLIC;

COMMENT ON VIEW auth.refresh_token_stats IS 'Auth: Figures about the tables of sessions and tokens, one row.';
COMMENT ON COLUMN auth.refresh_token_stats.live_sessions IS 'Sessions that have not ended.';
COMMENT ON COLUMN auth.refresh_token_stats.live_tokens IS 'Tokens that can be used.';
COMMENT ON COLUMN auth.refresh_token_stats.purgeable_tokens IS 'Tokens revoked longer ago than refresh_tokens.retention.';
COMMENT ON COLUMN auth.refresh_token_stats.oldest_purgeable_seconds IS 'For how long the oldest of them has been revoked, in seconds.';
COMMENT ON COLUMN auth.refresh_token_stats.sessions_hot_update_ratio IS 'How many of the updates of auth.sessions were HOT, from 0 to 1; NULL: there was none.';

CREATE VIEW auth.refresh_token_answers AS
SELECT status, answers, stats_reset
  FROM auth.read_refresh_token_answers();

REVOKE ALL ON TABLE auth.refresh_token_answers FROM PUBLIC;

COMMENT ON VIEW auth.refresh_token_answers IS 'Auth: How often each status was answered, in all databases; no row unless the library is preloaded.';
COMMENT ON COLUMN auth.refresh_token_answers.stats_reset IS 'Since when the answers are counted.';

REVOKE ALL ON FUNCTION auth.introspect_refresh_token(pg_catalog.text) FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.list_my_sessions() FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.list_sessions(pg_catalog.text) FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.purge_refresh_tokens(pg_catalog.int4) FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.read_refresh_token_answers() FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.read_refresh_token_stats() FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.reset_refresh_token_stats() FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.revoke_my_other_sessions() FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.revoke_my_session(pg_catalog.uuid) FROM PUBLIC;


-- Grants a role what its tier needs (the design's section 8), with the schema to find it in and the
-- types to declare wrappers of its own with. Runs with the caller's rights, so it gives nobody more than a GRANT of the caller would.
--
-- Takes the role and one of the tiers client, user, server, operator. Errors: 22004 for a NULL, 42704 for a
-- role that does not exist (PUBLIC is none), 22023 for another tier, 42501 for a caller who does not
-- own the functions.
CREATE OR REPLACE FUNCTION auth.grant_refresh_token_role(role pg_catalog.name, tier pg_catalog.text)
RETURNS pg_catalog.void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    client CONSTANT pg_catalog.text[] := ARRAY[
        'auth.rotate_refresh_token(text, text, text, inet)',
        'auth.revoke_refresh_token(text)'];
    server CONSTANT pg_catalog.text[] := client OPERATOR(pg_catalog.||) ARRAY[
        'auth.issue_refresh_token(text, uuid, uuid, text, text, auth.aal_level, text, timestamptz, text, inet)',
        'auth.revoke_token_family(text)',
        'auth.revoke_session(uuid)',
        'auth.revoke_user_sessions(text, uuid)',
        'auth.is_session_live(uuid)',
        'auth.introspect_refresh_token(text)',
        'auth.list_sessions(text)'];
    -- For a role whose claims a gateway has verified: with SQL of its own, it could set any.
    "user" CONSTANT pg_catalog.text[] := ARRAY[
        'auth.list_my_sessions()',
        'auth.revoke_my_session(uuid)',
        'auth.revoke_my_other_sessions()'];
    operator CONSTANT pg_catalog.text[] := ARRAY[
        'auth.explain_refresh_token(text)',
        'auth.draw_token_family(uuid)',
        'auth.purge_refresh_tokens(int)',
        'auth.purge_all(int)',
        'auth.read_refresh_token_stats()',
        'auth.read_refresh_token_answers()',
        'auth.reset_refresh_token_stats()'];
    functions pg_catalog.text[];
    relations pg_catalog.text;
    owner CONSTANT pg_catalog.oid := (
        SELECT p.proowner
          FROM pg_catalog.pg_proc AS p
         WHERE p.oid OPERATOR(pg_catalog.=) 'auth.rotate_refresh_token(text, text, text, inet)'::pg_catalog.regprocedure);
BEGIN
    IF role IS NULL OR tier IS NULL THEN
        RAISE EXCEPTION 'role and tier must not be NULL'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    functions := CASE WHEN tier OPERATOR(pg_catalog.=) 'client' THEN client
                      WHEN tier OPERATOR(pg_catalog.=) 'user' THEN "user"
                      WHEN tier OPERATOR(pg_catalog.=) 'server' THEN server
                      WHEN tier OPERATOR(pg_catalog.=) 'operator' THEN operator
                 END;
    relations := CASE WHEN tier OPERATOR(pg_catalog.=) 'user' THEN 'auth.my_sessions'
                      WHEN tier OPERATOR(pg_catalog.=) 'operator' THEN 'auth.refresh_token_events, auth.refresh_token_stats, auth.refresh_token_answers'
                 END;
    IF functions IS NULL THEN
        RAISE EXCEPTION 'there is no tier "%"', tier
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The tiers are client, user, server and operator.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object',
                  HINT = 'CREATE ROLE first. Nothing of this extension is meant for PUBLIC.';
    END IF;
    -- Somebody else's GRANT would only be a warning.
    IF NOT pg_catalog.pg_has_role(owner, 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of the functions of extension "refresh_tokens"'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA auth TO %I', role);
    EXECUTE pg_catalog.format('GRANT USAGE ON TYPE auth.aal_level, auth.refresh_token_status, auth.refresh_token_grant TO %I', role);
    EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO %I',
                              pg_catalog.array_to_string(functions, ', '), role);
    IF relations IS NOT NULL THEN
        EXECUTE pg_catalog.format('GRANT SELECT ON TABLE %s TO %I', relations, role);
    END IF;
END
$body$;

REVOKE ALL ON FUNCTION auth.grant_refresh_token_role(pg_catalog.name, pg_catalog.text) FROM PUBLIC;

COMMENT ON FUNCTION auth.grant_refresh_token_role(pg_catalog.name, pg_catalog.text)
    IS 'Grants a role the functions of a tier: client, user, server or operator.';

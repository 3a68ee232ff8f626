\echo Use "CREATE EXTENSION refresh_tokens" to load this file. \quit

-- The schema may be older than the extension. It must be one where nobody but superusers can plant objects for
-- the extension to stumble over, rename it, or drop what is in it, and where nothing has the names that are to be
-- created. The names of functions are compared when the functions are there: see privileges.sql.
DO $guard$
DECLARE
    owner pg_catalog.name;
    creator pg_catalog.text;
    in_the_way pg_catalog.text;
BEGIN
    IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8'::pg_catalog.name THEN
        RAISE EXCEPTION 'extension "refresh_tokens" needs a database with encoding UTF8'
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
    SELECT r.rolname
      INTO owner
      FROM pg_catalog.pg_namespace AS n
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
     WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
       AND NOT r.rolsuper;
    IF owner IS NOT NULL THEN
        RAISE EXCEPTION 'schema "auth" is in the way of extension "refresh_tokens": it belongs to role "%", who is no superuser', owner
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SCHEMA auth OWNER TO CURRENT_USER; and look what is in it.';
    END IF;
    SELECT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.format('role "%s"', r.rolname) END
      INTO creator
      FROM pg_catalog.pg_namespace AS n
     CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
       AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
       AND r.rolsuper IS NOT TRUE
     ORDER BY a.grantee
     LIMIT 1;
    IF creator IS NOT NULL THEN
        RAISE EXCEPTION 'schema "auth" is in the way of extension "refresh_tokens": % may create objects in it', creator
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'REVOKE CREATE ON SCHEMA auth (or the default privileges that grant it); and look what is in it.';
    END IF;
    SELECT pg_catalog.format('%s "auth.%s"', o.kind, o.name)
      INTO in_the_way
      FROM (SELECT 1 AS place, 'relation' AS kind, c.relname AS name
              FROM pg_catalog.pg_class AS c
             WHERE c.relnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
             UNION ALL
            SELECT 2, 'type', t.typname
              FROM pg_catalog.pg_type AS t
             WHERE t.typnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
           ) AS o
     WHERE o.name OPERATOR(pg_catalog.=) ANY (
               '{refresh_tokens,refresh_tokens_id_seq,sessions,refresh_token_events,refresh_token_events_id_seq,my_sessions,refresh_token_stats,refresh_token_answers,signing_keys,aal_level,refresh_token_status,refresh_token_grant}'::pg_catalog.name[])
     ORDER BY o.place, o.name
     LIMIT 1;
    IF in_the_way IS NOT NULL THEN
        RAISE EXCEPTION '% is in the way of extension "refresh_tokens"', in_the_way
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'The extension creates an object of this name and takes over nobody else''s.',
                  HINT = 'Rename or drop it, or install the extension in another database.';
    END IF;
END
$guard$;

CREATE TYPE auth.aal_level AS ENUM ('aal1', 'aal2', 'aal3');

CREATE TYPE auth.refresh_token_status AS ENUM (
    'issued', 'rotated', 'retried', 'unchanged',
    'malformed', 'not_found', 'client_mismatch', 'expired', 'revoked', 'reuse_detected');

CREATE TYPE auth.refresh_token_grant AS (
    status auth.refresh_token_status,
    refresh_token pg_catalog.text,
    user_id pg_catalog.text,
    session_id pg_catalog.uuid,
    instance_id pg_catalog.uuid,
    token_id pg_catalog.int8,
    issued_at pg_catalog.timestamptz,
    expires_at pg_catalog.timestamptz,
    session_expires_at pg_catalog.timestamptz,
    reason pg_catalog.text);

-- A rotation updates updated_at, refreshed_at, user_agent, ip, refresh_token_hmac_key and
-- refresh_token_counter. None of them is indexed, and a page has room for the new version of its
-- rows, so that this update stays HOT.
CREATE TABLE auth.sessions (
    id pg_catalog.uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    user_id pg_catalog.varchar(255) NOT NULL,
    created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    updated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    factor_id pg_catalog.uuid,
    aal auth.aal_level,
    not_after pg_catalog.timestamptz,
    refreshed_at pg_catalog.timestamptz,
    user_agent pg_catalog.text,
    ip pg_catalog.inet,
    tag pg_catalog.text,
    oauth_client_id pg_catalog.varchar(255),
    scopes pg_catalog.text,
    refresh_token_hmac_key pg_catalog.text,
    refresh_token_counter pg_catalog.int8,
    CONSTRAINT sessions_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- revoke_user_sessions, list of a user's sessions, max_sessions_per_user
CREATE INDEX sessions_user_id_idx ON auth.sessions (user_id);
-- purge
CREATE INDEX sessions_not_after_idx ON auth.sessions (not_after DESC);

CREATE SEQUENCE auth.refresh_tokens_id_seq AS pg_catalog.int8;

CREATE TABLE auth.refresh_tokens (
    instance_id pg_catalog.uuid,
    id pg_catalog.int8 NOT NULL DEFAULT pg_catalog.nextval('auth.refresh_tokens_id_seq'::pg_catalog.regclass),
    token pg_catalog.varchar(255),
    user_id pg_catalog.varchar(255),
    revoked pg_catalog.bool,
    created_at pg_catalog.timestamptz,
    updated_at pg_catalog.timestamptz,
    parent pg_catalog.varchar(255),
    session_id pg_catalog.uuid,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_unique UNIQUE (token),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES auth.sessions (id) ON DELETE CASCADE
);

ALTER SEQUENCE auth.refresh_tokens_id_seq OWNED BY auth.refresh_tokens.id;

CREATE INDEX refresh_tokens_instance_id_idx ON auth.refresh_tokens (instance_id);
CREATE INDEX refresh_tokens_instance_id_user_id_idx ON auth.refresh_tokens (instance_id, user_id);
CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens (parent);
CREATE INDEX refresh_tokens_session_id_revoked_idx ON auth.refresh_tokens (session_id, revoked);
CREATE INDEX refresh_tokens_updated_at_idx ON auth.refresh_tokens (updated_at DESC);

-- Without a policy only the owner sees a row; the functions run as the owner.
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;

-- A dump without the rows would log everybody out. One call a statement: two in one fail.
SELECT pg_catalog.pg_extension_config_dump('auth.sessions', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_tokens', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_tokens_id_seq', '');

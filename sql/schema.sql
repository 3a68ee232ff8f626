\echo Use "CREATE EXTENSION refresh_tokens" to load this file. \quit

-- The schema may be older than the extension. It must be one where nobody but superusers can plant objects for
-- the extension to stumble over, rename it, or drop what is in it, and where nothing has the names that are to be
-- created. The names of functions are compared when the functions are there: see closing.sql.
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

COMMENT ON TYPE auth.aal_level IS 'Auth: Authentication assurance level of a session.';
COMMENT ON TYPE auth.refresh_token_status IS 'Auth: Verdict about a refresh token. The first four come with a token to use.';
COMMENT ON TYPE auth.refresh_token_grant IS 'Auth: Answer to a client that asked for, or presented, a refresh token.';
COMMENT ON COLUMN auth.refresh_token_grant.status IS 'The verdict.';
COMMENT ON COLUMN auth.refresh_token_grant.refresh_token IS 'The token to use from now on; NULL unless the status is issued, rotated, retried or unchanged.';
COMMENT ON COLUMN auth.refresh_token_grant.user_id IS 'Whose session it is.';
COMMENT ON COLUMN auth.refresh_token_grant.session_id IS 'The session of the token.';
COMMENT ON COLUMN auth.refresh_token_grant.instance_id IS 'The instance that the token was issued for.';
COMMENT ON COLUMN auth.refresh_token_grant.token_id IS 'The id of the token to use from now on, or of the refused one.';
COMMENT ON COLUMN auth.refresh_token_grant.issued_at IS 'When the token to use from now on was minted.';
COMMENT ON COLUMN auth.refresh_token_grant.expires_at IS 'When it dies if it is not used.';
COMMENT ON COLUMN auth.refresh_token_grant.session_expires_at IS 'When its session ends however often it is used.';
COMMENT ON COLUMN auth.refresh_token_grant.reason IS 'concurrent or lost_response for retried; not_after, session_lifetime or idle_timeout for expired.';

-- What belongs to the extension, as the catalog says: so nothing that goes through all of it is a list to be kept. Nobody is
-- granted this function.
--
-- Takes nothing. Returns for each object its kind (ROUTINE, TABLE, VIEW, SEQUENCE, TYPE, ROW TYPE of a table or view, ARRAY),
-- name, owner and privileges; its identity, as GRANT and ALTER name it; its place in the catalog; and the transaction that
-- made it a member.
CREATE FUNCTION auth.refresh_token_members()
RETURNS TABLE (kind pg_catalog.text, name pg_catalog.name, identity pg_catalog.text, owner pg_catalog.oid,
               acl pg_catalog.aclitem[], classid pg_catalog.oid, objid pg_catalog.oid, joined pg_catalog.xid)
LANGUAGE sql
STABLE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE WHEN p.oid IS NOT NULL THEN 'ROUTINE'
                WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 'SEQUENCE'
                WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'VIEW'
                WHEN c.oid IS NOT NULL THEN 'TABLE'
                WHEN t.typcategory OPERATOR(pg_catalog.=) 'A' THEN 'ARRAY'
                WHEN r.oid IS NOT NULL THEN 'ROW TYPE'
                ELSE 'TYPE' END,
           COALESCE(p.proname, c.relname, t.typname),
           i.identity,
           COALESCE(p.proowner, c.relowner, t.typowner),
           COALESCE(p.proacl, c.relacl, t.typacl),
           d.classid, d.objid, d.xmin
      FROM pg_catalog.pg_depend AS d
      JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
      LEFT JOIN pg_catalog.pg_proc AS p
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
       AND p.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_class AS c
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND c.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_type AS t
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
       AND t.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_class AS r
        ON r.oid OPERATOR(pg_catalog.=) t.typrelid
       AND r.relkind OPERATOR(pg_catalog.<>) 'c'
     CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
       AND e.extname OPERATOR(pg_catalog.=) 'refresh_tokens'
       AND d.deptype OPERATOR(pg_catalog.=) 'e'
       AND COALESCE(p.oid, c.oid, t.oid) IS NOT NULL
$body$;

COMMENT ON FUNCTION auth.refresh_token_members()
    IS 'What belongs to the extension.';

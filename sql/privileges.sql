-- Nothing is for PUBLIC: neither by PostgreSQL's defaults (functions, types) nor by default privileges
-- that somebody has set (tables, sequences).
REVOKE ALL ON TABLE auth.sessions FROM PUBLIC;
REVOKE ALL ON TABLE auth.refresh_tokens FROM PUBLIC;
REVOKE ALL ON SEQUENCE auth.refresh_tokens_id_seq FROM PUBLIC;

REVOKE ALL ON TYPE auth.aal_level FROM PUBLIC;
REVOKE ALL ON TYPE auth.refresh_token_status FROM PUBLIC;
REVOKE ALL ON TYPE auth.refresh_token_grant FROM PUBLIC;

REVOKE ALL ON FUNCTION auth.issue_refresh_token(pg_catalog.text, pg_catalog.uuid, pg_catalog.uuid, pg_catalog.text, pg_catalog.text, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.inet) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.rotate_refresh_token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.inet) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.explain_refresh_token(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_refresh_token(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_token_family(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_session(pg_catalog.uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_user_sessions(pg_catalog.text, pg_catalog.uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.is_session_live(pg_catalog.uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.draw_token_family(pg_catalog.uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.introspect_refresh_token(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.list_sessions(pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.list_my_sessions() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_my_session(pg_catalog.uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke_my_other_sessions() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.purge_refresh_tokens(pg_catalog.int4) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.read_refresh_token_stats() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.read_refresh_token_answers() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.reset_refresh_token_stats() FROM PUBLIC;

-- Grants a role what its tier needs (the design's section 8), with the schema to find it in and the
-- types to declare wrappers of its own with. Runs with the caller's rights, so it gives nobody more than a GRANT of the caller would.
--
-- Takes the role and one of the tiers client, user, server, operator. Errors: 22004 for a NULL, 42704 for a
-- role that does not exist (PUBLIC is none), 22023 for another tier, 42501 for a caller who does not
-- own the functions.
CREATE FUNCTION auth.grant_refresh_token_role(role pg_catalog.name, tier pg_catalog.text)
RETURNS pg_catalog.void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    client CONSTANT pg_catalog.text[] := ARRAY[
        'auth.rotate_refresh_token(text, text, text, inet)',
        'auth.revoke_refresh_token(text)',
        pg_catalog.format('auth.token(%stext)', pg_catalog.repeat('text, ', 31)),
        'auth.token(jsonb)',
        'auth.revoke(text, text, text, text, text, text)',
        'auth.revoke(jsonb)',
        'auth.introspect(text, text, text, text, text, text)',
        'auth.introspect(jsonb)',
        'auth.jwks()',
        'auth.check_session()'];
    server CONSTANT pg_catalog.text[] := client OPERATOR(pg_catalog.||) ARRAY[
        'auth.issue_refresh_token(text, uuid, uuid, text, text, auth.aal_level, text, timestamptz, text, inet)',
        'auth.revoke_token_family(text)',
        'auth.revoke_session(uuid)',
        'auth.revoke_user_sessions(text, uuid)',
        'auth.is_session_live(uuid)',
        'auth.introspect_refresh_token(text)',
        'auth.list_sessions(text)',
        'auth.sign_in_response(text, text, text, uuid, auth.aal_level, text, timestamptz)'];
    -- For a role whose claims a gateway has verified: with SQL of its own, it could set any.
    "user" CONSTANT pg_catalog.text[] := ARRAY[
        'auth.list_my_sessions()',
        'auth.revoke_my_session(uuid)',
        'auth.revoke_my_other_sessions()',
        'auth.check_session()'];
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

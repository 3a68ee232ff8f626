\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

-- Everything that 0.3.0 adds to 0.2.0; no row is touched. The texts are those of the install script.

CREATE FUNCTION auth.is_my_session_live() RETURNS pg_catalog.bool
STRICT STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'is_my_session_live_wrapper';

CREATE FUNCTION auth.jwks() RETURNS pg_catalog.jsonb
STRICT STABLE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'jwks_wrapper';

CREATE FUNCTION auth.rotate_signing_key(
    alg pg_catalog.text DEFAULT 'ES256',
    active_at pg_catalog.timestamptz DEFAULT NULL,
    secret pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.uuid
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'rotate_signing_key_wrapper';

CREATE FUNCTION auth.sign_in_response(
    user_id pg_catalog.text,
    client_id pg_catalog.text DEFAULT NULL,
    scope pg_catalog.text DEFAULT NULL,
    instance_id pg_catalog.uuid DEFAULT NULL,
    aal auth.aal_level DEFAULT NULL,
    tag pg_catalog.text DEFAULT NULL,
    not_after pg_catalog.timestamptz DEFAULT NULL
) RETURNS pg_catalog.jsonb
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'sign_in_response_wrapper';

-- The OAuth 2 endpoints as PostgREST calls them (the design's section 10): a form, and a JSON body whose keys are all
-- declared, reach the function with named arguments; any other JSON body the one with one unnamed argument.
-- PostgREST finds no function for a form with a parameter that is not declared, where RFC 6749 (section 3.2) wants
-- it ignored. So every parameter is declared that a client may send to such an endpoint by a registered extension.

-- What signs access tokens. Nobody is granted anything on it; and a dump leaves it out, since whoever had the dump
-- could be anybody. So after a restore, auth.rotate_signing_key() makes a new key.
CREATE TABLE auth.signing_keys (
    kid pg_catalog.uuid NOT NULL,
    alg pg_catalog.text NOT NULL,
    private_key pg_catalog.text NOT NULL,
    active_at pg_catalog.timestamptz NOT NULL,
    created_at pg_catalog.timestamptz NOT NULL,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid)
);

ALTER TABLE auth.signing_keys ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON TABLE auth.signing_keys FROM PUBLIC;

COMMENT ON TABLE auth.signing_keys IS 'Auth: Keys that access tokens are signed with.';
COMMENT ON COLUMN auth.signing_keys.kid IS 'The name of the key in tokens and in auth.jwks().';
COMMENT ON COLUMN auth.signing_keys.alg IS 'HS256, ES256 or EdDSA.';
COMMENT ON COLUMN auth.signing_keys.private_key IS 'The secret, as base64url: what the members d and k of a JSON Web Key hold.';
COMMENT ON COLUMN auth.signing_keys.active_at IS 'From when on it signs. The key with the latest time that has come is the one that does.';
COMMENT ON COLUMN auth.signing_keys.created_at IS 'When it was made.';
COMMENT ON CONSTRAINT signing_keys_pkey ON auth.signing_keys IS 'One row a key.';

CREATE FUNCTION auth.token(
    grant_type pg_catalog.text DEFAULT NULL,
    refresh_token pg_catalog.text DEFAULT NULL,
    client_id pg_catalog.text DEFAULT NULL,
    scope pg_catalog.text DEFAULT NULL,
    client_secret pg_catalog.text DEFAULT NULL,
    client_assertion pg_catalog.text DEFAULT NULL,
    -- ignored
    client_assertion_type pg_catalog.text DEFAULT NULL,
    resource pg_catalog.text DEFAULT NULL,
    audience pg_catalog.text DEFAULT NULL,
    redirect_uri pg_catalog.text DEFAULT NULL,
    code pg_catalog.text DEFAULT NULL,
    code_verifier pg_catalog.text DEFAULT NULL,
    username pg_catalog.text DEFAULT NULL,
    password pg_catalog.text DEFAULT NULL,
    assertion pg_catalog.text DEFAULT NULL,
    device_code pg_catalog.text DEFAULT NULL,
    subject_token pg_catalog.text DEFAULT NULL,
    subject_token_type pg_catalog.text DEFAULT NULL,
    actor_token pg_catalog.text DEFAULT NULL,
    actor_token_type pg_catalog.text DEFAULT NULL,
    requested_token_type pg_catalog.text DEFAULT NULL,
    authorization_details pg_catalog.text DEFAULT NULL,
    vtr pg_catalog.text DEFAULT NULL,
    claim_token pg_catalog.text DEFAULT NULL,
    claim_token_format pg_catalog.text DEFAULT NULL,
    pct pg_catalog.text DEFAULT NULL,
    rpt pg_catalog.text DEFAULT NULL,
    ticket pg_catalog.text DEFAULT NULL,
    req_cnf pg_catalog.text DEFAULT NULL,
    auth_req_id pg_catalog.text DEFAULT NULL,
    "pre-authorized_code" pg_catalog.text DEFAULT NULL,
    tx_code pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'token_form_wrapper';

CREATE FUNCTION auth.token(pg_catalog.jsonb) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'token_json_wrapper';

CREATE FUNCTION auth.revoke(
    token pg_catalog.text DEFAULT NULL,
    token_type_hint pg_catalog.text DEFAULT NULL,
    client_id pg_catalog.text DEFAULT NULL,
    client_secret pg_catalog.text DEFAULT NULL,
    client_assertion pg_catalog.text DEFAULT NULL,
    -- ignored
    client_assertion_type pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'revoke_form_wrapper';

CREATE FUNCTION auth.revoke(pg_catalog.jsonb) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'revoke_json_wrapper';

CREATE FUNCTION auth.introspect(
    token pg_catalog.text DEFAULT NULL,
    token_type_hint pg_catalog.text DEFAULT NULL,
    client_id pg_catalog.text DEFAULT NULL,
    client_secret pg_catalog.text DEFAULT NULL,
    client_assertion pg_catalog.text DEFAULT NULL,
    -- ignored
    client_assertion_type pg_catalog.text DEFAULT NULL
) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'introspect_form_wrapper';

CREATE FUNCTION auth.introspect(pg_catalog.jsonb) RETURNS pg_catalog.jsonb
LANGUAGE c VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'introspect_json_wrapper';

-- PostgREST's db-pre-request: refuses an access token whose session has ended, at once and not when the token expires.
-- A token without the claim session_id, and a request without a token, pass. Takes nothing. Error PGRST, which
-- PostgREST answers with status 401 and the challenge of RFC 6750, section 3.1.
CREATE FUNCTION auth.check_session() RETURNS pg_catalog.void
LANGUAGE plpgsql STRICT STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    refusal CONSTANT pg_catalog.text := 'The session of the access token has ended.';
BEGIN
    IF NOT auth.is_my_session_live() THEN
        RAISE SQLSTATE 'PGRST'
            USING MESSAGE = pg_catalog.json_build_object('code', 'invalid_token', 'message', refusal),
                  DETAIL = pg_catalog.json_build_object('status', 401, 'headers', pg_catalog.json_build_object(
                      'WWW-Authenticate', pg_catalog.format('Bearer error="invalid_token", error_description="%s"', refusal)));
    END IF;
END
$body$;

REVOKE ALL ON FUNCTION auth.token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.token(pg_catalog.jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.revoke(pg_catalog.jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.introspect(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.introspect(pg_catalog.jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.check_session() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.jwks() FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.sign_in_response(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.uuid, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.rotate_signing_key(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text) FROM PUBLIC;
REVOKE ALL ON FUNCTION auth.is_my_session_live() FROM PUBLIC;

COMMENT ON FUNCTION auth.token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS 'OAuth 2 token endpoint: swaps a refresh token for an access token and the next refresh token (RFC 6749).';
COMMENT ON FUNCTION auth.token(pg_catalog.jsonb) IS 'OAuth 2 token endpoint: swaps a refresh token for an access token and the next refresh token (RFC 6749).';
COMMENT ON FUNCTION auth.revoke(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS 'OAuth 2 revocation endpoint: ends the session of a refresh token (RFC 7009).';
COMMENT ON FUNCTION auth.revoke(pg_catalog.jsonb) IS 'OAuth 2 revocation endpoint: ends the session of a refresh token (RFC 7009).';
COMMENT ON FUNCTION auth.introspect(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text) IS 'OAuth 2 introspection endpoint: tells what a token is good for (RFC 7662).';
COMMENT ON FUNCTION auth.introspect(pg_catalog.jsonb) IS 'OAuth 2 introspection endpoint: tells what a token is good for (RFC 7662).';
COMMENT ON FUNCTION auth.check_session() IS 'PostgREST''s db-pre-request: refuses the access token of a session that has ended.';
COMMENT ON FUNCTION auth.jwks() IS 'The public keys that access tokens are verified with (RFC 7517).';
COMMENT ON FUNCTION auth.sign_in_response(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.uuid, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz) IS 'Opens a session after a login and answers with its tokens.';
COMMENT ON FUNCTION auth.rotate_signing_key(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text) IS 'Makes a new key for signing access tokens; the one before it verifies for one more day.';
COMMENT ON FUNCTION auth.is_my_session_live() IS 'Tells whether the session that the claims of the access token name is live.';

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

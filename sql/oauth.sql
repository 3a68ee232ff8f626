-- The OAuth 2 endpoints as PostgREST calls them (docs/design.md#postgrest): a form, and a JSON body whose keys are all
-- declared, reach the function with named arguments; any other JSON body the one with one unnamed argument.
-- PostgREST finds no function for a form with a parameter that is not declared, where RFC 6749 (section 3.2) wants
-- it ignored. So every parameter is declared that a client may send to such an endpoint by a registered extension.

-- What signs access tokens. Nobody is granted anything on it; and a dump leaves it out, since whoever had the dump
-- could impersonate any user. So after a restore, auth.rotate_signing_key() makes a new key.
CREATE TABLE auth.signing_keys (
    kid pg_catalog.uuid NOT NULL,
    alg pg_catalog.text NOT NULL,
    private_key pg_catalog.text NOT NULL,
    active_at pg_catalog.timestamptz NOT NULL,
    created_at pg_catalog.timestamptz NOT NULL,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid)
);

ALTER TABLE auth.signing_keys ENABLE ROW LEVEL SECURITY;

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
-- A token without the claim session_id, and a request without a token, pass; claims that can't be read don't. Takes
-- nothing. Error PGRST, which PostgREST answers with status 401 and the challenge of RFC 6750, section 3.1.
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

DO $comments$
DECLARE
    endpoint record;
BEGIN
    FOR endpoint IN
        SELECT m.identity, c.comment
          FROM auth.refresh_token_members() AS m
          JOIN (VALUES ('token', 'OAuth 2 token endpoint: rotates a refresh token, and answers with an access token and the next refresh token (RFC 6749).'),
                       ('revoke', 'OAuth 2 revocation endpoint: ends the session of a refresh or access token (RFC 7009).'),
                       ('introspect', 'OAuth 2 introspection endpoint: tells what a token is good for (RFC 7662).')
               ) AS c (name, comment)
            ON c.name OPERATOR(pg_catalog.=) m.name
         WHERE m.kind OPERATOR(pg_catalog.=) 'ROUTINE'
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', endpoint.identity, endpoint.comment);
    END LOOP;
END
$comments$;

COMMENT ON FUNCTION auth.check_session() IS 'PostgREST''s db-pre-request: refuses the access token of a session that has ended.';
COMMENT ON FUNCTION auth.jwks() IS 'The public keys that access tokens are verified with (RFC 7517).';
COMMENT ON FUNCTION auth.sign_in_response(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.uuid, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz) IS 'Opens a session after a login and answers with its tokens.';
COMMENT ON FUNCTION auth.rotate_signing_key(pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text) IS 'Makes a new key for signing access tokens; the one before it verifies for one more day.';
COMMENT ON FUNCTION auth.is_my_session_live() IS 'Tells whether the session that the claims of the access token name is live.';

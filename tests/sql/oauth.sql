-- The OAuth 2 endpoints, as a gateway such as PostgREST calls them: a transaction is a request. The request is in the
-- settings request.*, the answer's status and headers are in the settings response.*.
-- No token and no key is printed: \gset keeps them in variables.
\set SHOW_CONTEXT never
\pset null '(null)'
CREATE EXTENSION refresh_tokens;
-- A retry is one however slow the machine is; the default is 10 seconds.
SET refresh_tokens.reuse_interval = '1 h';

-- ---- a login and a refresh --------------------------------------------------------------------------------------------

-- Without a key that signs access tokens there is no answer.
SELECT auth.sign_in_response('alice');
\echo :SQLSTATE
SELECT auth.rotate_signing_key() IS NOT NULL AS made;

-- The application's own login function answers with this.
SELECT auth.sign_in_response('alice', scope => 'read write') AS answer \gset
SELECT key, CASE WHEN key LIKE '%\_token' THEN '"..."' ELSE value END AS value FROM jsonb_each(:'answer') ORDER BY key;
SELECT :'answer'::jsonb ->> 'refresh_token' AS first, :'answer'::jsonb ->> 'access_token' AS access_token \gset

-- The claims of the access token.
SELECT convert_from(decode(rpad(translate(split_part(:'access_token', '.', 2), '-_', '+/'),
           4 * ((length(split_part(:'access_token', '.', 2)) + 3) / 4), '='), 'base64'), 'UTF8') AS claims \gset
SELECT key, CASE WHEN key IN ('exp', 'iat', 'jti', 'session_id') THEN '"..."' ELSE value END AS value FROM jsonb_each(:'claims') ORDER BY key;

-- The token endpoint (RFC 6749, section 6) takes parameters as a form has them, or one JSON document.
BEGIN;
SELECT auth.token('refresh_token', :'first') AS answer \gset
SELECT current_setting('response.status', true) AS status, current_setting('response.headers', true) AS headers;
COMMIT;
SELECT key FROM jsonb_object_keys(:'answer') AS key ORDER BY 1;
SELECT :'answer'::jsonb ->> 'refresh_token' AS second \gset
-- A retry gets the same refresh token again.
SELECT auth.token(jsonb_build_object('grant_type', 'refresh_token', 'refresh_token', :'first')) ->> 'refresh_token' = :'second' AS same;
-- A narrower scope narrows the access token alone.
SELECT auth.token('refresh_token', :'second', scope => 'read') AS answer \gset
SELECT :'answer'::jsonb ->> 'scope' AS scope, :'answer'::jsonb ->> 'refresh_token' AS third \gset
SELECT :'scope' AS scope;

-- ---- refusals ---------------------------------------------------------------------------------------------------------

-- A refusal is an answer, not an error: what the call did is committed. The status is in response.status.
SELECT auth.token('password', :'third'), current_setting('response.status') AS status;
SELECT auth.token('refresh_token'), current_setting('response.status') AS status;
SELECT auth.token(), current_setting('response.status') AS status;
SELECT auth.token('refresh_token', 'unknown'), current_setting('response.status') AS status;
SELECT auth.token('refresh_token', :'third', scope => 'read admin'), current_setting('response.status') AS status;
SELECT auth.token('refresh_token', :'third', client_id => 'another'), current_setting('response.status') AS status;
SELECT auth.token('{}'::jsonb), auth.token('[]'::jsonb), auth.token(NULL::jsonb);

-- Reuse.
SET refresh_tokens.reuse_interval = 0;
SELECT auth.token('refresh_token', :'first'), current_setting('response.status') AS status;
SELECT auth.token('refresh_token', :'third'), current_setting('response.status') AS status;
SET refresh_tokens.reuse_interval = '1 h';
SELECT event, reason FROM auth.refresh_token_events ORDER BY id;

-- ---- clients ----------------------------------------------------------------------------------------------------------

-- A hook of the application's authenticates clients.
CREATE FUNCTION public.authenticate(client_id text, client_secret text) RETURNS boolean LANGUAGE sql STABLE AS
    'SELECT client_id = ''app'' AND client_secret IS NOT DISTINCT FROM ''not guessed''';
SET refresh_tokens.client_authentication_hook = 'public.authenticate';
SELECT auth.sign_in_response('bob', 'app') ->> 'refresh_token' AS token \gset
SELECT auth.token('refresh_token', :'token', 'app', client_secret => 'guessed'), current_setting('response.status') AS status;
SELECT auth.token('refresh_token', :'token', 'app', client_secret => 'not guessed') ? 'access_token' AS answered;
BEGIN;
SELECT set_config('request.headers', json_build_object('authorization', 'Basic ' || encode('app:guessed', 'base64'))::text, true) IS NOT NULL AS set;
SELECT auth.token('refresh_token', :'token'), current_setting('response.status') AS status, current_setting('response.headers') AS headers;
COMMIT;
SELECT event, reason FROM auth.refresh_token_events WHERE event LIKE 'client%' ORDER BY id;
RESET refresh_tokens.client_authentication_hook;

-- ---- claims of the application's own ----------------------------------------------------------------------------------

CREATE FUNCTION public.claims(claims jsonb) RETURNS jsonb LANGUAGE sql STABLE AS
    'SELECT claims || ''{"tenant": "acme", "role": "member"}''';
SET refresh_tokens.access_token_hook = 'public.claims';
SET refresh_tokens.access_token_issuer = 'https://auth.example';
SET refresh_tokens.access_token_audience = 'https://api.example';
SET refresh_tokens.access_token_lifetime = '5 min';
SELECT auth.sign_in_response('carol') AS answer \gset
SELECT :'answer'::jsonb ->> 'access_token' AS access_token \gset
SELECT convert_from(decode(rpad(translate(split_part(:'access_token', '.', 2), '-_', '+/'),
           4 * ((length(split_part(:'access_token', '.', 2)) + 3) / 4), '='), 'base64'), 'UTF8') AS claims \gset
SELECT key, CASE WHEN key IN ('exp', 'iat', 'jti', 'session_id') THEN '"..."' ELSE value END AS value FROM jsonb_each(:'claims') ORDER BY key;
SELECT (:'claims'::jsonb ->> 'exp')::bigint - (:'claims'::jsonb ->> 'iat')::bigint AS lifetime, :'answer'::jsonb -> 'expires_in' AS expires_in;
SET refresh_tokens.access_token_hook = 'public.no_such';
SELECT auth.sign_in_response('carol');
\echo :SQLSTATE
RESET refresh_tokens.access_token_hook;
RESET refresh_tokens.access_token_issuer;
RESET refresh_tokens.access_token_audience;
RESET refresh_tokens.access_token_lifetime;

-- ---- revocation and introspection -------------------------------------------------------------------------------------

-- RFC 7009: an unknown token is as good as a revoked one.
SELECT auth.sign_in_response('dave') AS answer \gset
SELECT :'answer'::jsonb ->> 'refresh_token' AS token, :'answer'::jsonb ->> 'access_token' AS access_token \gset
SELECT auth.revoke('unknown'), current_setting('response.status') AS status;
SELECT auth.revoke(), current_setting('response.status') AS status;

-- RFC 7662: for those who have shown who they are, by an access token of their own or as a client.
SELECT auth.introspect(:'token'), current_setting('response.status') AS status;
BEGIN;
SELECT convert_from(decode(rpad(translate(split_part(:'access_token', '.', 2), '-_', '+/'),
           4 * ((length(split_part(:'access_token', '.', 2)) + 3) / 4), '='), 'base64'), 'UTF8') AS claims \gset
SELECT set_config('request.jwt.claims', :'claims', true) IS NOT NULL AS set;
SELECT jsonb_pretty(auth.introspect(:'token') - 'session_id' - 'iat' - 'exp');
SELECT auth.introspect('unknown');
COMMIT;

-- PostgREST's db-pre-request refuses the access token of a session that has ended, at once.
BEGIN;
SELECT set_config('request.jwt.claims', :'claims', true) IS NOT NULL AS set;
SELECT auth.check_session();
SELECT auth.is_my_session_live();
SELECT auth.revoke(:'token'), current_setting('response.status') AS status;
SELECT auth.is_my_session_live();
SELECT auth.check_session();
\echo :SQLSTATE
ROLLBACK;

-- ---- keys -------------------------------------------------------------------------------------------------------------

-- The public halves of the keys (RFC 7517). The newest one signs; the one before it verifies for one more day.
SELECT k ->> 'kty' AS kty, k ->> 'alg' AS alg, k ->> 'crv' AS crv, k ->> 'use' AS use, k ? 'd' AS is_private FROM jsonb_array_elements(auth.jwks() -> 'keys') AS k;
SELECT auth.rotate_signing_key('EdDSA') IS NOT NULL AS made;
SELECT k ->> 'kty' AS kty, k ->> 'alg' AS alg, k ->> 'crv' AS crv FROM jsonb_array_elements(auth.jwks() -> 'keys') AS k ORDER BY 2;
SELECT auth.rotate_signing_key('RS256');
\echo :SQLSTATE
SELECT auth.rotate_signing_key('HS256', secret => 'short');
\echo :SQLSTATE
SELECT auth.rotate_signing_key('ES256', secret => repeat('x', 32));
\echo :SQLSTATE

DROP FUNCTION public.authenticate(text, text), public.claims(jsonb);
DROP EXTENSION refresh_tokens;
DROP SCHEMA auth;

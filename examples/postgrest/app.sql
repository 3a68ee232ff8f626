-- A small application that is only a database: users with passwords, and their notes. As a superuser, in an empty
-- database:  psql -d notes -v ON_ERROR_STOP=1 -f app.sql
--
-- Three schemas: auth is the extension's, api the application's for everybody to call, private nobody's but its own.

CREATE EXTENSION refresh_tokens;
-- Its functions run as a role that can do nothing else.
CREATE ROLE refresh_tokens_owner NOLOGIN;
SELECT auth.set_refresh_token_owner('refresh_tokens_owner');

CREATE SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;

-- ---- roles: PostgREST logs in as authenticator, and becomes anon or what the access token says ---------------------

CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
GRANT anon, authenticated TO authenticator;

-- The endpoints, for whoever has a token to show; own sessions, for those who are logged in.
SELECT auth.grant_refresh_token_role('authenticator', 'gateway');
SELECT auth.grant_refresh_token_role('anon', 'gateway');
SELECT auth.grant_refresh_token_role('authenticated', 'gateway');
SELECT auth.grant_refresh_token_role('authenticated', 'user');

-- The application: the one role that may log users in. Its functions run as it.
CREATE ROLE notes_app NOLOGIN;
SELECT auth.grant_refresh_token_role('notes_app', 'server');
GRANT USAGE ON SCHEMA extensions TO notes_app;
CREATE SCHEMA api AUTHORIZATION notes_app;
CREATE SCHEMA private AUTHORIZATION notes_app;

SELECT pg_catalog.format('ALTER DATABASE %I SET refresh_tokens.access_token_audience = %L', current_database(), 'notes') \gexec
SELECT pg_catalog.format('ALTER DATABASE %I SET refresh_tokens.access_token_lifetime = %L', current_database(), '15 min') \gexec

-- ---- the key that signs access tokens, and how PostgREST learns the public one --------------------------------------

SELECT auth.rotate_signing_key('ES256');

SET ROLE notes_app;

-- db-pre-config: PostgREST calls it at its start, and after NOTIFY pgrst, 'reload config'.
CREATE FUNCTION private.postgrest_config() RETURNS void
LANGUAGE sql SET search_path = ''
AS $$ SELECT pg_catalog.set_config('pgrst.jwt_secret', auth.jwks()::text, true) $$;

-- ---- users ---------------------------------------------------------------------------------------------------------

CREATE TABLE private.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL,
    password text NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON private.users (lower(email));

-- The user of the access token that PostgREST has verified.
CREATE FUNCTION api.current_user_id() RETURNS uuid
LANGUAGE sql STABLE SET search_path = ''
AS $$ SELECT (nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;

CREATE FUNCTION api.sign_up(email text, password text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
    IF length(password) < 8 THEN
        RAISE EXCEPTION 'a password has at least 8 characters' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO private.users (email, password)
    VALUES (sign_up.email, extensions.crypt(sign_up.password, extensions.gen_salt('bf', 8)));
END
$$;

-- What a client gets for a password is what it gets for a refresh token later. A refusal is returned and not
-- raised, and takes as long for an email that nobody has.
CREATE FUNCTION api.login(email text, password text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
    account private.users;
    stored text := '$2a$08$7EqJtq98hPqEX7fNZaFWoOhi5kZ2gQ8VZcqs8W3n9j8eQ7kFZs1yq';
BEGIN
    SELECT * INTO account FROM private.users AS u WHERE lower(u.email) = lower(login.email);
    IF found THEN
        stored := account.password;
    END IF;
    IF extensions.crypt(coalesce(login.password, ''), stored) <> stored OR account.id IS NULL THEN
        PERFORM pg_catalog.set_config('response.status', '400', true);
        RETURN '{"error": "invalid_grant", "error_description": "Wrong email or password."}';
    END IF;
    RETURN auth.sign_in_response(account.id::text, scope => 'notes', tag => 'web');
END
$$;

-- Whoever changes the password is alone again: the other sessions end in the same transaction.
CREATE FUNCTION api.change_password(password text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
    claims jsonb := pg_catalog.current_setting('request.jwt.claims')::jsonb;
BEGIN
    UPDATE private.users AS u
       SET password = extensions.crypt(change_password.password, extensions.gen_salt('bf', 8))
     WHERE u.id = api.current_user_id();
    PERFORM auth.revoke_user_sessions(claims ->> 'sub', (claims ->> 'session_id')::uuid);
END
$$;

-- ---- notes: everybody's own ----------------------------------------------------------------------------------------

CREATE TABLE api.notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL DEFAULT api.current_user_id(),
    body text NOT NULL
);
ALTER TABLE api.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON api.notes TO authenticated USING (user_id = api.current_user_id());

CREATE FUNCTION api.add_note(body text) RETURNS void
LANGUAGE sql SET search_path = ''
AS $$ INSERT INTO api.notes (body) VALUES (add_note.body) $$;

-- ---- who may do what -----------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA api, private FROM PUBLIC;
GRANT USAGE ON SCHEMA private TO authenticator;
GRANT EXECUTE ON FUNCTION private.postgrest_config() TO authenticator;
GRANT USAGE ON SCHEMA api TO anon, authenticated;
GRANT EXECUTE ON FUNCTION api.sign_up(text, text), api.login(text, text) TO anon;
GRANT EXECUTE ON FUNCTION api.current_user_id(), api.add_note(text), api.change_password(text) TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON api.notes TO authenticated;

RESET ROLE;

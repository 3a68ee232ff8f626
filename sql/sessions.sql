-- Sessions: a row for each login of a user.

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

-- Without a policy only the owner sees a row; the functions run as the owner.
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;

-- A dump without the rows would log everybody out.
SELECT pg_catalog.pg_extension_config_dump('auth.sessions', '');

-- A user's own sessions, for a role that users act as through a gateway: the rows of the user whom the
-- claims name, and no others. The function behind it looks at nothing but the claims.
CREATE VIEW auth.my_sessions AS
SELECT session_id, created_at, refreshed_at, ip, user_agent, tag, client_id, aal, expires_at, session_expires_at, rotations
  FROM auth.list_my_sessions();

COMMENT ON VIEW auth.my_sessions IS 'Auth: The live sessions of the user whom the claims of the access token name.';

COMMENT ON TABLE auth.sessions IS 'Auth: Stores session data associated to a user.';
COMMENT ON COLUMN auth.sessions.id IS 'The session. Its last two bytes are the slot that its tokens carry.';
COMMENT ON COLUMN auth.sessions.user_id IS 'The user, by the application''s own key.';
COMMENT ON COLUMN auth.sessions.created_at IS 'When the user logged in.';
COMMENT ON COLUMN auth.sessions.updated_at IS 'When the row was last changed.';
COMMENT ON COLUMN auth.sessions.factor_id IS 'The second factor that the user logged in with; for the application to use.';
COMMENT ON COLUMN auth.sessions.aal IS 'The assurance level of the login.';
COMMENT ON COLUMN auth.sessions.not_after IS 'When the session ends, or was ended: ended once this is not later than updated_at.';
COMMENT ON COLUMN auth.sessions.refreshed_at IS 'When a token of the session was last used; NULL: not since the login.';
COMMENT ON COLUMN auth.sessions.user_agent IS 'The client''s user agent, as last given.';
COMMENT ON COLUMN auth.sessions.ip IS 'The client''s address, as last given.';
COMMENT ON COLUMN auth.sessions.tag IS 'The kind of session that refresh_tokens.max_sessions_per_user is counted by.';
COMMENT ON COLUMN auth.sessions.oauth_client_id IS 'The OAuth client that the session''s tokens are bound to.';
COMMENT ON COLUMN auth.sessions.scopes IS 'The scopes that the user consented to.';
COMMENT ON COLUMN auth.sessions.refresh_token_hmac_key IS 'The derivation key, base64url. Alone it can mint nothing.';
COMMENT ON COLUMN auth.sessions.refresh_token_counter IS 'How often the session was rotated.';
COMMENT ON CONSTRAINT sessions_pkey ON auth.sessions IS 'One row a session.';
COMMENT ON INDEX auth.sessions_user_id_idx IS 'Serves the functions that take a user.';
COMMENT ON INDEX auth.sessions_not_after_idx IS 'Serves the removal of ended sessions.';

COMMENT ON FUNCTION auth.revoke_session(pg_catalog.uuid)
    IS 'Ends a session; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.revoke_user_sessions(pg_catalog.text, pg_catalog.uuid)
    IS 'Ends all sessions of a user, or all but one; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.is_session_live(pg_catalog.uuid)
    IS 'Whether a session is live.';
COMMENT ON FUNCTION auth.list_sessions(pg_catalog.text)
    IS 'The live sessions of a user, a row each, without a secret.';
COMMENT ON FUNCTION auth.list_my_sessions()
    IS 'What auth.my_sessions shows.';
COMMENT ON FUNCTION auth.revoke_my_session(pg_catalog.uuid)
    IS 'Ends a session of the user whom the claims name.';
COMMENT ON FUNCTION auth.revoke_my_other_sessions()
    IS 'Ends all sessions of the user whom the claims name but the one that they name.';
COMMENT ON FUNCTION auth.plan_is_session_live(internal)
    IS 'What PostgreSQL calls when it plans a call of is_session_live.';

-- What was measured (docs/performance.md#a-policy-that-asks-for-each-row), in the planner's units.
ALTER FUNCTION auth.is_session_live(pg_catalog.uuid) PARALLEL SAFE COST 700 SUPPORT auth.plan_is_session_live;

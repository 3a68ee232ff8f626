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

COMMENT ON TABLE auth.refresh_tokens IS 'Auth: Store of tokens used to refresh JWT tokens once they expire.';
COMMENT ON SEQUENCE auth.refresh_tokens_id_seq IS 'Auth: Ids of refresh tokens.';
COMMENT ON CONSTRAINT refresh_tokens_pkey ON auth.refresh_tokens IS 'One row a token.';
COMMENT ON CONSTRAINT refresh_tokens_token_unique ON auth.refresh_tokens IS 'Finds a presented token by its digest.';
COMMENT ON CONSTRAINT refresh_tokens_session_id_fkey ON auth.refresh_tokens IS 'A token dies with its session.';
COMMENT ON INDEX auth.refresh_tokens_instance_id_idx IS 'As in Supabase Auth.';
COMMENT ON INDEX auth.refresh_tokens_instance_id_user_id_idx IS 'As in Supabase Auth.';
COMMENT ON INDEX auth.refresh_tokens_parent_idx IS 'Finds a token''s children.';
COMMENT ON INDEX auth.refresh_tokens_session_id_revoked_idx IS 'Finds the live token of a session.';
COMMENT ON INDEX auth.refresh_tokens_updated_at_idx IS 'Finds tokens revoked long ago.';

COMMENT ON FUNCTION auth.issue_refresh_token(pg_catalog.text, pg_catalog.uuid, pg_catalog.uuid, pg_catalog.text, pg_catalog.text, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.inet)
    IS 'Issues a refresh token: opens a session, or replaces the live token of one.';
COMMENT ON FUNCTION auth.rotate_refresh_token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.inet)
    IS 'Swaps a live refresh token for its child; answers a retry with the same child; detects reuse. Commit whatever the status is.';
COMMENT ON FUNCTION auth.explain_refresh_token(pg_catalog.text)
    IS 'The verdict that a rotation would give, without changing a row.';
COMMENT ON FUNCTION auth.revoke_refresh_token(pg_catalog.text)
    IS 'Ends the family of a refresh token (RFC 7009); counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.revoke_token_family(pg_catalog.text)
    IS 'Ends the family that descends from a token, or from a value of the columns token and parent; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.revoke_session(pg_catalog.uuid)
    IS 'Ends a session; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.revoke_user_sessions(pg_catalog.text, pg_catalog.uuid)
    IS 'Ends all sessions of a user, or all but one; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.is_session_live(pg_catalog.uuid)
    IS 'Whether a session is live.';
COMMENT ON FUNCTION auth.draw_token_family(pg_catalog.uuid)
    IS 'The tokens of a session as a tree, a line each, without a secret.';
COMMENT ON FUNCTION auth.introspect_refresh_token(pg_catalog.text)
    IS 'What a token is good for, without using it (RFC 7662).';
COMMENT ON FUNCTION auth.list_sessions(pg_catalog.text)
    IS 'The live sessions of a user, a row each, without a secret.';
COMMENT ON FUNCTION auth.list_my_sessions()
    IS 'What auth.my_sessions shows.';
COMMENT ON FUNCTION auth.revoke_my_session(pg_catalog.uuid)
    IS 'Ends a session of the user whom the claims name.';
COMMENT ON FUNCTION auth.revoke_my_other_sessions()
    IS 'Ends all sessions of the user whom the claims name but the one that they name.';
COMMENT ON FUNCTION auth.read_refresh_token_stats()
    IS 'What auth.refresh_token_stats shows.';
COMMENT ON FUNCTION auth.read_refresh_token_answers()
    IS 'What auth.refresh_token_answers shows.';
COMMENT ON FUNCTION auth.reset_refresh_token_stats()
    IS 'Counts the answers of auth.refresh_token_answers from 0.';
COMMENT ON FUNCTION auth.purge_refresh_tokens(pg_catalog.int4)
    IS 'Deletes one batch of what is over for longer than it is kept, and counts the rows.';

-- A user's own sessions, for a role that users act as through a gateway: the rows of the user whom the
-- claims name, and no others. The function behind it looks at nothing but the claims.
CREATE VIEW auth.my_sessions AS
SELECT session_id, created_at, refreshed_at, ip, user_agent, tag, client_id, aal, expires_at, session_expires_at, rotations
  FROM auth.list_my_sessions();

COMMENT ON VIEW auth.my_sessions IS 'Auth: The live sessions of the user whom the claims of the access token name.';

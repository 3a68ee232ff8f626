-- The session $1.
-- $1 session
SELECT s.id AS session_id, s.user_id, s.oauth_client_id, s.created_at AS session_created_at, s.refreshed_at, s.not_after,
       s.updated_at AS session_updated_at
  FROM auth.sessions AS s
 WHERE s.id OPERATOR(pg_catalog.=) $1

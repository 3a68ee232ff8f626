-- The sessions $1, locked; in the order of their ids, so that two callers can't wait for each other.
-- $1 sessions
SELECT s.id AS session_id, s.user_id, s.oauth_client_id, s.created_at AS session_created_at, s.refreshed_at, s.not_after,
       s.updated_at AS session_updated_at
  FROM auth.sessions AS s
 WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
 ORDER BY s.id
   FOR NO KEY UPDATE

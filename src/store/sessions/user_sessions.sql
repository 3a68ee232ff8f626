-- The sessions of $1 that have not ended, the one refreshed last first.
-- $1 user  $2 now
SELECT s.id AS session_id, s.user_id, s.oauth_client_id, s.created_at AS session_created_at, s.refreshed_at, s.not_after,
       s.updated_at AS session_updated_at, s.ip, s.user_agent, s.tag, s.aal::pg_catalog.text AS aal, s.refresh_token_counter
  FROM auth.sessions AS s
 WHERE s.user_id OPERATOR(pg_catalog.=) $1
   AND (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) GREATEST($2, s.updated_at))
 ORDER BY COALESCE(s.refreshed_at, s.created_at) DESC, s.id

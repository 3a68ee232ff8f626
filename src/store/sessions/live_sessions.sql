-- A user's live sessions with a tag, the one refreshed last first.
-- $1 user  $2 tag, or NULL  $3 now  $4 created after  $5 refreshed after
SELECT s.id AS session_id
  FROM auth.sessions AS s
 WHERE s.user_id OPERATOR(pg_catalog.=) $1
   AND (s.tag OPERATOR(pg_catalog.=) $2 OR (s.tag IS NULL AND $2 IS NULL))
   AND (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) GREATEST($3, s.updated_at))
   AND s.created_at OPERATOR(pg_catalog.>) $4
   AND COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.>) $5
 ORDER BY COALESCE(s.refreshed_at, s.created_at) DESC, s.created_at DESC, s.id

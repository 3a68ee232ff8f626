-- A user's sessions that have not ended, locked; in the order of lock_sessions.sql.
-- $1 user  $2 a session to leave out, or NULL  $3 now
SELECT s.id
  FROM auth.sessions AS s
 WHERE s.user_id OPERATOR(pg_catalog.=) $1
   AND ($2 IS NULL OR s.id OPERATOR(pg_catalog.<>) $2)
   AND (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) $3)
 ORDER BY s.id
   FOR NO KEY UPDATE

-- A user's sessions that nobody has ended, locked; in the order of lock_sessions.sql. What is past its end by the clock
-- alone is among them: the clock may be set back.
-- $1 user  $2 a session to leave out, or NULL
SELECT s.id AS session_id
  FROM auth.sessions AS s
 WHERE s.user_id OPERATOR(pg_catalog.=) $1
   AND ($2 IS NULL OR s.id OPERATOR(pg_catalog.<>) $2)
   AND (s.not_after OPERATOR(pg_catalog.<=) s.updated_at) IS NOT TRUE
 ORDER BY s.id
   FOR NO KEY UPDATE

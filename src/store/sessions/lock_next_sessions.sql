-- The next $2 sessions that nobody has ended, locked; in the order of lock_sessions.sql, beginning after the session $1.
-- $1 a session, or NULL: the first ones  $2 how many
SELECT s.id AS session_id
  FROM auth.sessions AS s
 WHERE s.id OPERATOR(pg_catalog.>=) COALESCE($1, '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid)
   AND ($1 IS NULL OR s.id OPERATOR(pg_catalog.<>) $1)
   AND (s.not_after OPERATOR(pg_catalog.<=) s.updated_at) IS NOT TRUE
 ORDER BY s.id
 LIMIT $2
   FOR NO KEY UPDATE

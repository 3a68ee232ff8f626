-- The next $4 sessions that ended before $1, in the order of their ends and ids, beginning after the end $2 and the id $3.
-- $1 ended before  $2 end  $3 session  $4 how many
SELECT s.id AS session_id, s.not_after
  FROM auth.sessions AS s
 WHERE s.not_after OPERATOR(pg_catalog.<) $1
   AND s.not_after OPERATOR(pg_catalog.>=) $2
   AND (s.not_after OPERATOR(pg_catalog.>) $2 OR s.id OPERATOR(pg_catalog.>) $3)
 ORDER BY s.not_after, s.id
 LIMIT $4

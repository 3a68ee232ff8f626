-- How many of the derived digests $2 are rows of the session $1.
-- $1 session  $2 digests
SELECT pg_catalog.count(*)
  FROM auth.refresh_tokens AS t
 WHERE t.token OPERATOR(pg_catalog.=) ANY ((SELECT $2)::pg_catalog.text[])
   AND t.session_id OPERATOR(pg_catalog.=) $1

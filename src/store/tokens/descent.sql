-- How many of the derived digests $2 are rows of the session $1. OFFSET keeps this a look-up for each digest, whatever
-- the statistics say: to go through the session's rows for each would be quadratic.
-- $1 session  $2 digests
SELECT pg_catalog.count(*) AS rows
  FROM pg_catalog.unnest((SELECT $2)::pg_catalog.text[]) AS d (digest)
 CROSS JOIN LATERAL (
       SELECT t.session_id
         FROM auth.refresh_tokens AS t
        WHERE t.token OPERATOR(pg_catalog.=) d.digest
       OFFSET 0
       ) AS t
 WHERE t.session_id OPERATOR(pg_catalog.=) $1

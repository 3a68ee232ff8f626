-- The families that descend from $1: the sessions of the rows that have it as token or parent, and
-- whether some of those rows have no session.
-- $1 a digest, or whatever value the columns token and parent show
SELECT pg_catalog.array_agg(DISTINCT t.session_id) FILTER (WHERE t.session_id IS NOT NULL) AS sessions,
       COALESCE(pg_catalog.bool_or(t.session_id IS NULL), false) AS has_orphans
  FROM auth.refresh_tokens AS t
 WHERE t.token OPERATOR(pg_catalog.=) $1
    OR t.parent OPERATOR(pg_catalog.=) $1

-- As purge_ended.sql, of the sessions $3 alone.
-- $1 ended before  $2 how many  $3 sessions
WITH ended AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $3)::pg_catalog.uuid[])
       AND s.not_after OPERATOR(pg_catalog.<) $1
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM auth.refresh_tokens AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
               SELECT o.ctid
                 FROM auth.refresh_tokens AS o
                WHERE o.session_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT e.id FROM ended AS e))
                LIMIT $2))
    RETURNING t.id
)
SELECT (SELECT pg_catalog.array_agg(e.id) FROM ended AS e) AS sessions,
       (SELECT pg_catalog.count(*) FROM gone) AS gone

-- Deletes up to $2 tokens of sessions that ended before $1, and locks these sessions: whichever are left when
-- purge_tokens.sql has seen all old tokens. The row tells the sessions, and how many tokens are gone.
-- $1 ended before  $2 how many
WITH ended AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE s.not_after OPERATOR(pg_catalog.<) $1
     ORDER BY s.not_after
     LIMIT $2
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

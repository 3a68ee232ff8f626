-- Deletes up to $2 of the sessions $1, which are locked, if they have no token left. The row counts them, and
-- tells those that stay.
-- $1 sessions  $2 how many
WITH empty AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       -- OFFSET keeps this a look-up for each session, whatever the statistics say.
       AND NOT EXISTS (SELECT FROM auth.refresh_tokens AS t
                        WHERE t.session_id OPERATOR(pg_catalog.=) s.id OFFSET 0)
), gone AS (
    DELETE FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT e.id FROM empty AS e LIMIT $2))
    RETURNING s.id
)
SELECT (SELECT pg_catalog.count(*) FROM gone) AS gone,
       ARRAY(SELECT s.id
               FROM pg_catalog.unnest((SELECT $1)::pg_catalog.uuid[]) AS s (id)
              WHERE NOT s.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT g.id FROM gone AS g))) AS left_over

-- Deletes up to $2 of the sessions $1, which are locked, if they have no token left and are not among $3. The row counts
-- them, tells those that stay, and how many of these wait for another batch.
-- $1 sessions  $2 how many  $3 those that others refer to
WITH empty AS MATERIALIZED (
    SELECT s.id, s.id OPERATOR(pg_catalog.=) ANY ((SELECT $3)::pg_catalog.uuid[]) AS is_kept
      FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       -- OFFSET keeps this a look-up for each session, whatever the statistics say.
       AND NOT EXISTS (SELECT FROM auth.refresh_tokens AS t
                        WHERE t.session_id OPERATOR(pg_catalog.=) s.id OFFSET 0)
), gone AS (
    DELETE FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT e.id FROM empty AS e WHERE NOT e.is_kept LIMIT $2))
    RETURNING s.id
), left_over AS (
    SELECT s.id
      FROM pg_catalog.unnest((SELECT $1)::pg_catalog.uuid[]) AS s (id)
     WHERE NOT s.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT g.id FROM gone AS g))
)
SELECT (SELECT pg_catalog.count(*) FROM gone) AS gone,
       ARRAY(SELECT l.id FROM left_over AS l) AS left_over,
       (SELECT pg_catalog.count(*)
          FROM left_over AS l
         WHERE NOT l.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT e.id FROM empty AS e WHERE e.is_kept))) AS waiting

-- Deletes up to $2 events that occurred before $1, the oldest first. The row counts them.
-- $1 before  $2 how many
WITH gone AS (
    DELETE FROM auth.refresh_token_events AS e
     WHERE e.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
               SELECT o.ctid
                 FROM auth.refresh_token_events AS o
                WHERE o.occurred_at OPERATOR(pg_catalog.<) $1
                ORDER BY o.occurred_at
                LIMIT $2
                  FOR UPDATE SKIP LOCKED))
    RETURNING e.id
)
SELECT pg_catalog.count(*) AS gone FROM gone

-- Deletes up to $2 tokens that don't say when they were last changed and can't be used: their session's row is gone, or
-- they have no session and are revoked or nobody's. What has a session goes with it. The row counts them.
-- $1 created before  $2 how many
WITH gone AS (
    DELETE FROM auth.refresh_tokens AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
               SELECT o.ctid
                 FROM auth.refresh_tokens AS o
                WHERE o.updated_at IS NULL
                  AND COALESCE(o.created_at, '-infinity'::pg_catalog.timestamptz) OPERATOR(pg_catalog.<) $1
                  AND (o.session_id IS NOT NULL OR o.user_id IS NULL OR o.revoked IS NOT FALSE)
                  AND NOT EXISTS (SELECT FROM auth.sessions AS s
                                   WHERE s.id OPERATOR(pg_catalog.=) o.session_id OFFSET 0)
                LIMIT $2
                  FOR UPDATE SKIP LOCKED))
    RETURNING t.id
)
SELECT pg_catalog.count(*) AS gone FROM gone

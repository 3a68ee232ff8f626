-- Looks at the $6 oldest tokens that are due, of those last changed from $1 till before $2, and deletes up to $7 tokens:
-- of sessions that are over all they have, whatever their age; and in sessions that go on those whose child is
-- revoked too. So a live token and its parent stay, whatever window a setting may open for the parent. Families
-- without a session end with their last token. Where the row of the session is gone, or a row has neither session nor
-- user, no token can be used: all go, the live one too.
--
-- It waits for nobody. A session that is over is locked first; FOR UPDATE, which whoever takes the session's
-- lock excludes, and whoever refers to it. Nobody who holds the lock of a session that goes on reads for
-- writing, locks or writes a token whose child is revoked too: those are locked by themselves, so that no
-- rotation waits for a purge.
--
-- The row tells how many were due, when the last one was changed, the sessions locked, and how many
-- tokens are gone.
-- $1 from  $2 till  $3 sessions ended before  $4 created before  $5 refreshed before  $6 how many due
-- $7 how many to delete, not less than $6
WITH due AS MATERIALIZED (
    SELECT t.ctid AS place, t.updated_at, CASE WHEN s.is_over THEN s.place END AS ended
      FROM auth.refresh_tokens AS t
      LEFT JOIN LATERAL (
           SELECT s.ctid AS place,
                  s.not_after OPERATOR(pg_catalog.<) $3
                  OR s.created_at OPERATOR(pg_catalog.<) $4
                  OR COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.<) $5 AS is_over
             FROM auth.sessions AS s
            WHERE s.id OPERATOR(pg_catalog.=) t.session_id
            LIMIT 1
           ) AS s ON true
     WHERE t.updated_at OPERATOR(pg_catalog.>=) $1
       AND t.updated_at OPERATOR(pg_catalog.<) $2
       AND CASE WHEN s.is_over THEN true
                WHEN s.place IS NULL AND (t.session_id IS NOT NULL OR t.user_id IS NULL) THEN true
                WHEN t.revoked IS FALSE
                THEN t.session_id IS NULL AND t.created_at OPERATOR(pg_catalog.<) GREATEST($4, $5)
                ELSE COALESCE((SELECT pg_catalog.bool_and(c.revoked IS NOT FALSE
                                                          -- the last of a family without a session, which goes too
                                                          OR (c.session_id IS NULL AND c.updated_at OPERATOR(pg_catalog.<) $2
                                                              AND c.created_at OPERATOR(pg_catalog.<) GREATEST($4, $5)))
                                 FROM auth.refresh_tokens AS c
                                WHERE c.parent OPERATOR(pg_catalog.=) t.token),
                              t.session_id IS NULL)
           END
     ORDER BY t.updated_at
     LIMIT $6
), ended AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT d.ended FROM due AS d))
       AND (s.not_after OPERATOR(pg_catalog.<) $3
            OR s.created_at OPERATOR(pg_catalog.<) $4
            OR COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.<) $5)
       FOR UPDATE SKIP LOCKED
), single AS MATERIALIZED (
    SELECT t.ctid AS place
      FROM auth.refresh_tokens AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT d.place FROM due AS d WHERE d.ended IS NULL))
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM auth.refresh_tokens AS t
     WHERE t.ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
               SELECT s.place FROM single AS s
                UNION ALL
               SELECT o.ctid
                 FROM auth.refresh_tokens AS o
                WHERE o.session_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT e.id FROM ended AS e))
                LIMIT $7))
    RETURNING t.id
)
SELECT (SELECT pg_catalog.count(*) FROM due) AS due,
       (SELECT pg_catalog.max(d.updated_at) FROM due AS d) AS last_changed,
       (SELECT pg_catalog.array_agg(e.id) FROM ended AS e) AS sessions,
       (SELECT pg_catalog.count(*) FROM gone) AS gone

-- One row about the tables. What is purgeable is what purge_tokens.sql, purge_ended.sql and purge_undated.sql would delete,
-- and for so long as they would have. Each table is joined as a whole, and not looked up row by row: there may be many.
-- $1 now  $2 created after  $3 refreshed after: what makes a session live
-- $4 over before  $5 created before  $6 refreshed before: what makes one purgeable
WITH session AS MATERIALIZED (
    SELECT s.id,
           (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) GREATEST($1, s.updated_at))
           AND s.created_at OPERATOR(pg_catalog.>) $2
           AND COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.>) $3 AS is_live,
           s.not_after OPERATOR(pg_catalog.<) $4 AS has_ended,
           -- For how long it could have been purged; NULL: it can't be. From an infinite time nothing can be subtracted.
           GREATEST(CASE WHEN s.not_after OPERATOR(pg_catalog.<) $4
                         THEN $4 OPERATOR(pg_catalog.-) GREATEST(s.not_after, '0001-01-01 00:00:00+00') END,
                    CASE WHEN s.created_at OPERATOR(pg_catalog.<) $5
                         THEN $5 OPERATOR(pg_catalog.-) GREATEST(s.created_at, '0001-01-01 00:00:00+00') END,
                    CASE WHEN COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.<) $6
                         THEN $6 OPERATOR(pg_catalog.-)
                              GREATEST(COALESCE(s.refreshed_at, s.created_at), '0001-01-01 00:00:00+00') END) AS due_for
      FROM auth.sessions AS s
), due AS (
    -- What goes with its session, to which purge comes by its end or by an old token.
    SELECT s.due_for
      FROM session AS s
      JOIN auth.refresh_tokens AS t ON t.session_id OPERATOR(pg_catalog.=) s.id
     WHERE s.due_for IS NOT NULL
       AND (s.has_ended
            OR EXISTS (SELECT
                         FROM auth.refresh_tokens AS o
                        WHERE o.session_id OPERATOR(pg_catalog.=) s.id
                          AND o.updated_at OPERATOR(pg_catalog.<) $4))
     UNION ALL
    -- What goes by itself: once it is old, and its child is revoked too.
    SELECT $4 OPERATOR(pg_catalog.-)
           GREATEST(t.updated_at,
                    CASE WHEN pg_catalog.max(c.updated_at) IS NOT NULL THEN LEAST(pg_catalog.max(c.updated_at), $4) END,
                    '0001-01-01 00:00:00+00')
      FROM auth.refresh_tokens AS t
      LEFT JOIN session AS s ON s.id OPERATOR(pg_catalog.=) t.session_id
      LEFT JOIN auth.refresh_tokens AS c ON c.parent OPERATOR(pg_catalog.=) t.token
     WHERE t.updated_at OPERATOR(pg_catalog.<) $4
       AND s.due_for IS NULL
     GROUP BY t.id, s.id
    HAVING CASE WHEN s.id IS NULL AND (t.session_id IS NOT NULL OR t.user_id IS NULL) THEN true
                WHEN t.revoked IS FALSE
                THEN t.session_id IS NULL AND t.created_at OPERATOR(pg_catalog.<) GREATEST($5, $6)
                ELSE COALESCE(pg_catalog.bool_and(c.revoked IS NOT FALSE
                                                  OR (c.session_id IS NULL AND c.updated_at OPERATOR(pg_catalog.<) $4
                                                      AND c.created_at OPERATOR(pg_catalog.<) GREATEST($5, $6)))
                                  FILTER (WHERE c.id IS NOT NULL),
                              t.session_id IS NULL)
           END
     UNION ALL
    -- What somebody has damaged.
    SELECT NULL
      FROM auth.refresh_tokens AS t
     WHERE t.updated_at IS NULL
       AND COALESCE(t.created_at, '-infinity'::pg_catalog.timestamptz) OPERATOR(pg_catalog.<) $4
       AND (t.session_id IS NOT NULL OR t.user_id IS NULL OR t.revoked IS NOT FALSE)
       AND NOT EXISTS (SELECT FROM session AS s WHERE s.id OPERATOR(pg_catalog.=) t.session_id)
)
SELECT (SELECT pg_catalog.count(*) FROM session AS s WHERE s.is_live) AS live_sessions,
       (SELECT pg_catalog.count(*)
          FROM auth.refresh_tokens AS t
         WHERE t.revoked IS FALSE
           AND (t.session_id IS NULL OR t.session_id IN (SELECT s.id FROM session AS s WHERE s.is_live))) AS live_tokens,
       due.tokens AS purgeable_tokens,
       due.seconds AS oldest_purgeable_seconds,
       pg_catalog.pg_table_size('auth.sessions') AS sessions_table_bytes,
       pg_catalog.pg_indexes_size('auth.sessions') AS sessions_index_bytes,
       pg_catalog.pg_table_size('auth.refresh_tokens') AS tokens_table_bytes,
       pg_catalog.pg_indexes_size('auth.refresh_tokens') AS tokens_index_bytes,
       pg_catalog.pg_stat_get_dead_tuples('auth.sessions'::pg_catalog.regclass) AS sessions_dead_rows,
       pg_catalog.pg_stat_get_dead_tuples('auth.refresh_tokens'::pg_catalog.regclass) AS tokens_dead_rows,
       pg_catalog.pg_stat_get_tuples_hot_updated('auth.sessions'::pg_catalog.regclass)::pg_catalog.float8
           OPERATOR(pg_catalog./)
           NULLIF(pg_catalog.pg_stat_get_tuples_updated('auth.sessions'::pg_catalog.regclass), 0)::pg_catalog.float8
           AS sessions_hot_update_ratio
  FROM (SELECT pg_catalog.count(*) AS tokens,
               COALESCE(EXTRACT(epoch FROM pg_catalog.max(d.due_for)), 0)::pg_catalog.float8 AS seconds
          FROM due AS d) AS due

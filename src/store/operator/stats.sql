-- One row about the tables. A revoked token's last change is its revocation.
-- $1 now  $2 created after  $3 refreshed after: what makes a session live  $4 revoked before: what purge takes
WITH live AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) GREATEST($1, s.updated_at))
       AND s.created_at OPERATOR(pg_catalog.>) $2
       AND COALESCE(s.refreshed_at, s.created_at) OPERATOR(pg_catalog.>) $3
)
SELECT (SELECT pg_catalog.count(*) FROM live) AS live_sessions,
       (SELECT pg_catalog.count(*)
          FROM auth.refresh_tokens AS t
         WHERE t.revoked IS FALSE
           AND (t.session_id IS NULL OR t.session_id IN (SELECT l.id FROM live AS l))) AS live_tokens,
       old.tokens AS purgeable_tokens,
       old.oldest AS oldest_purgeable,
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
  FROM (SELECT pg_catalog.count(*) AS tokens, pg_catalog.min(t.updated_at) AS oldest
          FROM auth.refresh_tokens AS t
         WHERE t.updated_at OPERATOR(pg_catalog.<) $4
           AND t.revoked IS NOT FALSE) AS old

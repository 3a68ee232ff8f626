-- The rows without a session that hang together with $1 by their parents, both ways. UNION drops
-- what was met before, so a cycle ends. chain.rs locks them in the order of ids.
-- $1 as in families.sql
WITH RECURSIVE chain (id, token, parent) AS (
    SELECT t.id, t.token, t.parent
      FROM auth.refresh_tokens AS t
     WHERE (t.token OPERATOR(pg_catalog.=) $1 OR t.parent OPERATOR(pg_catalog.=) $1)
       AND t.session_id IS NULL
    UNION
    SELECT t.id, t.token, t.parent
      FROM chain AS c
      JOIN auth.refresh_tokens AS t
        ON t.token OPERATOR(pg_catalog.=) c.parent
        OR t.parent OPERATOR(pg_catalog.=) c.token
     WHERE t.session_id IS NULL
)
SELECT t.id,
       t.instance_id,
       t.revoked IS FALSE,
       t.created_at,
       t.updated_at,
       t.user_id,
       t.token,
       t.parent
  FROM auth.refresh_tokens AS t
 WHERE t.id OPERATOR(pg_catalog.=) ANY (SELECT c.id FROM chain AS c)
   AND t.session_id IS NULL
 ORDER BY t.id

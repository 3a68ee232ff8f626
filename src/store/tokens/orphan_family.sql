-- The rows without a session that hang together with $1 by their parents, both ways. UNION drops
-- what was met before, so a cycle ends. orphan_family.rs locks them in the order of ids.
-- $1 as in families.sql
WITH RECURSIVE family (id, token, parent) AS (
    SELECT t.id, t.token, t.parent
      FROM auth.refresh_tokens AS t
     WHERE (t.token OPERATOR(pg_catalog.=) $1 OR t.parent OPERATOR(pg_catalog.=) $1)
       AND t.session_id IS NULL
    UNION
    SELECT t.id, t.token, t.parent
      FROM family AS f
      JOIN auth.refresh_tokens AS t
        ON t.token OPERATOR(pg_catalog.=) f.parent
        OR t.parent OPERATOR(pg_catalog.=) f.token
     WHERE t.session_id IS NULL
)
SELECT t.id AS token_id,
       t.instance_id,
       t.revoked IS FALSE AS is_live,
       t.created_at,
       t.updated_at,
       t.user_id,
       t.token,
       t.parent
  FROM auth.refresh_tokens AS t
 WHERE t.id OPERATOR(pg_catalog.=) ANY (SELECT f.id FROM family AS f)
   AND t.session_id IS NULL
 ORDER BY t.id

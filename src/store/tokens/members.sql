-- All tokens of the session $1.
-- $1 session
SELECT t.id AS token_id, t.token, t.parent, t.revoked IS FALSE AS is_live, t.created_at, t.updated_at
  FROM auth.refresh_tokens AS t
 WHERE t.session_id OPERATOR(pg_catalog.=) $1
 ORDER BY t.id

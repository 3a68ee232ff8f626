-- The digest of the token in the row $1.
-- $1 id
SELECT t.token
  FROM auth.refresh_tokens AS t
 WHERE t.id OPERATOR(pg_catalog.=) $1

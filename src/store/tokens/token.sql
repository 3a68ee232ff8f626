-- The digest of the token in the row $1, if it was revoked at $2.
-- $1 id  $2 revoked at, or NULL
SELECT t.token
  FROM auth.refresh_tokens AS t
 WHERE t.id OPERATOR(pg_catalog.=) $1
   AND t.revoked IS NOT FALSE
   AND t.updated_at IS NOT DISTINCT FROM $2

-- The next $2 live tokens without a session, locked; in the order of their ids, beginning after the token $1.
-- $1 a token's id  $2 how many
SELECT t.id AS token_id
  FROM auth.refresh_tokens AS t
 WHERE t.id OPERATOR(pg_catalog.>) $1
   AND t.session_id IS NULL
   AND t.revoked IS FALSE
 ORDER BY t.id
 LIMIT $2
   FOR NO KEY UPDATE

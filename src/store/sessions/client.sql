-- The client that the session of the token with digest $1 is bound to.
-- $1 digest
SELECT s.oauth_client_id
  FROM auth.refresh_tokens AS t
  JOIN auth.sessions AS s ON s.id OPERATOR(pg_catalog.=) t.session_id
 WHERE t.token OPERATOR(pg_catalog.=) $1

-- The scopes of the session $1.
-- $1 session
SELECT s.scopes
  FROM auth.sessions AS s
 WHERE s.id OPERATOR(pg_catalog.=) $1

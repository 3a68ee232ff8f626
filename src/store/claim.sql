-- The session of the token with digest $1, locked: the one lock that rotation, revocation, logout
-- and purge all take first. One row if the token exists; what the row says about the token is as old
-- as the statement, so the token is read again (facts.sql) once the lock is held.
-- $1 digest
WITH presented AS MATERIALIZED (
    SELECT t.session_id
      FROM auth.refresh_tokens AS t
     WHERE t.token OPERATOR(pg_catalog.=) $1
), locked AS MATERIALIZED (
    SELECT s.id
      FROM auth.sessions AS s
     WHERE s.id OPERATOR(pg_catalog.=) (SELECT p.session_id FROM presented AS p)
       FOR NO KEY UPDATE
)
SELECT p.session_id IS NOT NULL, l.id IS NOT NULL
  FROM presented AS p
  LEFT JOIN locked AS l ON true

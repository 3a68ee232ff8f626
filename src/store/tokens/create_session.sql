-- Gives the locked rows $1, which have no session, the session $3. Of their live tokens only the
-- presented one ($2) stays: a session has one at most.
-- $1 ids  $2 presented  $3 session  $4 user  $5 created at  $6 now
WITH session AS (
    INSERT INTO auth.sessions (id, user_id, created_at, updated_at, refresh_token_counter)
    VALUES ($3, $4, $5, $6, 0)
    RETURNING id
)
UPDATE auth.refresh_tokens AS t
   SET session_id = s.id,
       revoked = t.revoked IS NOT FALSE OR t.id OPERATOR(pg_catalog.<>) $2,
       updated_at = CASE WHEN t.revoked IS FALSE AND t.id OPERATOR(pg_catalog.<>) $2
                         THEN $6 ELSE t.updated_at END
  FROM session AS s
 WHERE t.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.int8[])

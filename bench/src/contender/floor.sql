-- The least SQL that swaps a token for its child: no check, no lock, no key.
-- $1 the parent's digest  $2 the child's
WITH parent AS (
    UPDATE auth.refresh_tokens
       SET revoked = true, updated_at = clock_timestamp()
     WHERE token = $1 AND NOT revoked
    RETURNING instance_id, token, user_id, session_id
), refreshed AS (
    UPDATE auth.sessions AS s
       SET refreshed_at = clock_timestamp(), updated_at = clock_timestamp()
      FROM parent AS p
     WHERE s.id = p.session_id
)
INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
SELECT p.instance_id, $2, p.user_id, false, clock_timestamp(), clock_timestamp(), p.token, p.session_id
  FROM parent AS p
RETURNING id

-- Rotates the live token $1 of the locked session $7: mints its child, and records the use. No row: the token
-- is not live any more (it was revoked before the lock was held, or by hand without it), or is another
-- session's; nothing was changed.
-- $1 id  $2 child's digest  $3 now  $4 derivation key  $5 user agent  $6 ip  $7 session
WITH parent AS (
    UPDATE auth.refresh_tokens AS t
       SET revoked = true, updated_at = $3
     WHERE t.id OPERATOR(pg_catalog.=) $1
       AND t.session_id OPERATOR(pg_catalog.=) $7
       AND t.revoked IS FALSE
    RETURNING t.instance_id, t.token, t.user_id
), refreshed AS (
    UPDATE auth.sessions AS s
       SET updated_at = $3,
           refreshed_at = $3,
           user_agent = COALESCE($5, s.user_agent),
           ip = COALESCE($6, s.ip),
           refresh_token_hmac_key = $4,
           refresh_token_counter = LEAST(COALESCE(s.refresh_token_counter, 0), 9223372036854775806)
                                   OPERATOR(pg_catalog.+) 1
     WHERE s.id OPERATOR(pg_catalog.=) $7
       AND EXISTS (SELECT FROM parent)
)
INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
SELECT p.instance_id, $2, p.user_id, false, $3, $3, p.token, $7
  FROM parent AS p
RETURNING id AS token_id

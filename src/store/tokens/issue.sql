-- A login: a session and its first token.
-- $1 session  $2 user  $3 now  $4 digest  $5 instance  $6 client  $7 scopes  $8 aal  $9 tag
-- $10 not after  $11 user agent  $12 ip
WITH session AS (
    INSERT INTO auth.sessions (id, user_id, created_at, updated_at, aal, not_after, user_agent, ip, tag,
                               oauth_client_id, scopes, refresh_token_counter)
    VALUES ($1, $2, $3, $3, $8::auth.aal_level, $10, $11, $12, $9, $6, $7, 0)
    RETURNING id, user_id
)
INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, session_id)
SELECT $5, $4, s.user_id, false, $3, $3, s.id
  FROM session AS s
RETURNING id AS token_id, instance_id

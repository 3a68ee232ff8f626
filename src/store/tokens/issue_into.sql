-- A new token in the session $1, which is locked: replaces its live token and takes over what else
-- the application says about the session.
-- $1 session  $2 now  $3 digest  $4 instance  $5 scopes  $6 aal  $7 tag  $8 not after  $9 user agent  $10 ip
WITH replaced AS (
    UPDATE auth.refresh_tokens AS t
       SET revoked = true, updated_at = $2
     WHERE t.session_id OPERATOR(pg_catalog.=) $1
       AND t.revoked IS FALSE
    RETURNING t.id, t.token, t.instance_id
), parent AS (
    SELECT r.token, r.instance_id FROM replaced AS r ORDER BY r.id DESC LIMIT 1
), session AS (
    UPDATE auth.sessions AS s
       SET updated_at = $2,
           refreshed_at = $2,
           aal = COALESCE($6::auth.aal_level, s.aal),
           not_after = COALESCE($8, s.not_after),
           user_agent = COALESCE($9, s.user_agent),
           ip = COALESCE($10, s.ip),
           tag = COALESCE($7, s.tag),
           scopes = COALESCE($5, s.scopes)
     WHERE s.id OPERATOR(pg_catalog.=) $1
    RETURNING s.id, s.user_id
)
INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
SELECT COALESCE($4, p.instance_id), $3, s.user_id, false, $2, $2, p.token, s.id
  FROM session AS s
  LEFT JOIN parent AS p ON true
RETURNING id AS token_id, instance_id

-- All that the verdict about the token with digest $1 needs, in one snapshot: the token, its session,
-- and, where the token is revoked, the family's live token.
-- $1 digest
SELECT t.id,
       t.instance_id,
       t.revoked IS FALSE,
       s.id,
       s.user_id,
       s.oauth_client_id,
       s.created_at,
       s.refreshed_at,
       s.not_after,
       s.updated_at,
       s.refresh_token_hmac_key,
       t.created_at,
       t.updated_at,
       s.refresh_token_counter,
       live.id,
       live.instance_id,
       live.created_at,
       live.token,
       live.parent OPERATOR(pg_catalog.=) t.token,
       t.session_id IS NOT NULL
  FROM auth.refresh_tokens AS t
  LEFT JOIN auth.sessions AS s ON s.id OPERATOR(pg_catalog.=) t.session_id
  LEFT JOIN LATERAL (
       SELECT l.id, l.instance_id, l.created_at, l.token, l.parent
         FROM auth.refresh_tokens AS l
        WHERE l.session_id OPERATOR(pg_catalog.=) t.session_id
          AND l.revoked IS FALSE
          AND t.revoked IS NOT FALSE
        ORDER BY l.id DESC
        LIMIT 1
       ) AS live ON true
 WHERE t.token OPERATOR(pg_catalog.=) $1

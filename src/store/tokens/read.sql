-- All that the verdict about the token with digest $1 needs, in one snapshot: the token, its session,
-- and, where the token is revoked, the family's live token.
-- $1 digest
SELECT t.id AS token_id,
       t.instance_id,
       t.revoked IS FALSE AS is_live,
       t.session_id IS NOT NULL AS has_session,
       s.id AS session_id,
       s.user_id,
       s.oauth_client_id,
       s.created_at AS session_created_at,
       s.refreshed_at,
       s.not_after,
       s.updated_at AS session_updated_at,
       s.refresh_token_hmac_key,
       s.refresh_token_counter,
       t.created_at AS token_created_at,
       t.updated_at AS token_updated_at,
       live.id AS live_id,
       live.instance_id AS live_instance_id,
       live.created_at AS live_created_at,
       live.token AS live_token,
       live.parent OPERATOR(pg_catalog.=) t.token AS live_replaced_presented
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

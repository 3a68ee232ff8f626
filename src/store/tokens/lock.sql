-- The token with digest $1 and its session, locked: the one lock that rotation, revocation, logout and
-- purge all take first. The session is as it is under the lock. The token is as old as the statement:
-- that it was live then is enough to rotate it, since rotate.sql tests that again; for all else it is
-- read again (read.sql) once the lock is held. No row: there is no such token.
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
       s.refresh_token_hmac_key
  FROM auth.refresh_tokens AS t
  LEFT JOIN LATERAL (
       SELECT l.id, l.user_id, l.oauth_client_id, l.created_at, l.refreshed_at, l.not_after, l.updated_at,
              l.refresh_token_hmac_key
         FROM auth.sessions AS l
        WHERE l.id OPERATOR(pg_catalog.=) t.session_id
          FOR NO KEY UPDATE
       ) AS s ON true
 WHERE t.token OPERATOR(pg_catalog.=) $1

-- Records that $1 happened to the tokens $2, unless the same was recorded of them in the last minute, and
-- sends what belongs to the security set. A payload has to stay below 8000 bytes, or the transaction
-- would fail: of the user agent, which a client chooses, it has the beginning.
-- $1 event  $2 tokens  $3 now  $4 reason  $5 user agent  $6 ip  $7 whether to send it
WITH event AS (
    INSERT INTO auth.refresh_token_events (occurred_at, event, user_id, session_id, token_id, reason, user_agent, ip)
    SELECT $3, $1, COALESCE(s.user_id, t.user_id), t.session_id, t.id, $4, $5, $6
      FROM auth.refresh_tokens AS t
      LEFT JOIN auth.sessions AS s ON s.id OPERATOR(pg_catalog.=) t.session_id
     WHERE t.id OPERATOR(pg_catalog.=) ANY ((SELECT $2)::pg_catalog.int8[])
       AND NOT EXISTS (
           SELECT
             FROM auth.refresh_token_events AS e
            WHERE e.token_id OPERATOR(pg_catalog.=) t.id
              AND e.event OPERATOR(pg_catalog.=) $1
              AND e.occurred_at OPERATOR(pg_catalog.>) ($3 OPERATOR(pg_catalog.-) '1 min'::pg_catalog.interval))
    RETURNING *
)
SELECT CASE WHEN $7 THEN pg_catalog.pg_notify('refresh_tokens', pg_catalog.json_build_object(
           'id', e.id,
           'occurred_at', e.occurred_at,
           'event', e.event,
           'user_id', e.user_id,
           'session_id', e.session_id,
           'token_id', e.token_id,
           'reason', e.reason,
           'user_agent', pg_catalog."left"(e.user_agent, 256),
           'ip', e.ip)::pg_catalog.text)
       END
  FROM event AS e

-- Records that $1 happened to the tokens $2, unless the same was recorded of them in the minute before $3, and sends the
-- event's id if $7. A row for each that was recorded.
-- $1 event  $2 tokens  $3 now  $4 reason  $5 user agent  $6 ip  $7 whether to send it
WITH event AS (
    INSERT INTO auth.refresh_token_events (occurred_at, event, user_id, session_id, token_id, reason, user_agent, ip)
    SELECT $3, $1, COALESCE(s.user_id, t.user_id), t.session_id, t.id, $4, $5, $6
      FROM auth.refresh_tokens AS t
      LEFT JOIN auth.sessions AS s ON s.id OPERATOR(pg_catalog.=) t.session_id
     WHERE t.id OPERATOR(pg_catalog.=) ANY ((SELECT $2)::pg_catalog.int8[])
       AND NOT EXISTS (
           SELECT
             -- OFFSET keeps this a look-up for each token: to go through the events of the last minute for each would be
             -- quadratic where many are recorded at once.
             FROM (SELECT o.event, o.occurred_at
                     FROM auth.refresh_token_events AS o
                    WHERE o.token_id OPERATOR(pg_catalog.=) t.id
                   OFFSET 0) AS e
            WHERE e.event OPERATOR(pg_catalog.=) $1
              AND e.occurred_at OPERATOR(pg_catalog.>) ($3 OPERATOR(pg_catalog.-) '1 min'::pg_catalog.interval))
    RETURNING id
)
SELECT CASE WHEN $7 THEN pg_catalog.pg_notify('refresh_tokens', e.id::pg_catalog.text) END
  FROM event AS e

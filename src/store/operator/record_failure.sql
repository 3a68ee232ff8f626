-- Records the event $1, which has to do with no token, unless the same was recorded in the last minute of the
-- same name and address, or $6 of its kind were in that time, of whatever name.
-- $1 event  $2 now  $3 reason  $4 user agent  $5 ip  $6 how many are enough
WITH recent AS (
    SELECT e.reason, e.ip
      FROM auth.refresh_token_events AS e
     WHERE e.token_id IS NULL
       AND e.event OPERATOR(pg_catalog.=) $1
       AND e.occurred_at OPERATOR(pg_catalog.>) ($2 OPERATOR(pg_catalog.-) '1 min'::pg_catalog.interval)
       AND e.occurred_at OPERATOR(pg_catalog.<=) ($2 OPERATOR(pg_catalog.+) '1 min'::pg_catalog.interval)
     LIMIT $6
)
INSERT INTO auth.refresh_token_events (occurred_at, event, reason, user_agent, ip)
SELECT $2, $1, $3, $4, $5
 WHERE (SELECT pg_catalog.count(*) FROM recent) OPERATOR(pg_catalog.<) $6
   AND NOT EXISTS (
       SELECT
         FROM recent AS r
        WHERE COALESCE(r.reason, '') OPERATOR(pg_catalog.=) COALESCE($3, '')
          AND COALESCE(pg_catalog.text(r.ip), '') OPERATOR(pg_catalog.=) COALESCE(pg_catalog.text($5), ''))
RETURNING id AS event_id

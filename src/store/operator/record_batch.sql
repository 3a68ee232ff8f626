-- Records the event $1, which has to do with many tokens: one row for all of them.
-- $1 event  $2 now  $3 reason  $4 user agent  $5 ip
INSERT INTO auth.refresh_token_events (occurred_at, event, reason, user_agent, ip)
VALUES ($2, $1, $3, $4, $5)
RETURNING id AS event_id

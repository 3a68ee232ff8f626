-- Records the use of a token that stays as it is.
-- $1 session  $2 now  $3 user agent  $4 ip
UPDATE auth.sessions AS s
   SET updated_at = $2,
       refreshed_at = $2,
       user_agent = COALESCE($3, s.user_agent),
       ip = COALESCE($4, s.ip)
 WHERE s.id OPERATOR(pg_catalog.=) $1

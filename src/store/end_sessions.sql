-- Ends the sessions $1, which are locked: revokes their live tokens and lets them end now. What has
-- ended already keeps its time. The row has the ids of the tokens revoked.
-- $1 sessions  $2 now
WITH revoked AS (
    UPDATE auth.refresh_tokens AS t
       SET revoked = true, updated_at = $2
     WHERE t.session_id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       AND t.revoked IS FALSE
    RETURNING t.id
), ended AS (
    UPDATE auth.sessions AS s
       SET not_after = $2, updated_at = $2
     WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       AND (s.not_after IS NULL OR s.not_after OPERATOR(pg_catalog.>) $2)
)
SELECT ARRAY(SELECT r.id FROM revoked AS r)

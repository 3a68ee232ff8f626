-- Ends the sessions $1, which are locked: revokes their live tokens and lets them end now. What was to end sooner
-- keeps its time. From then on not_after is not later than updated_at, which is what marks an ended session
-- (Session::is_ended). The row of a session is written whenever a token of it is, so that a transaction with an older
-- snapshot can't lock it. The row has the ids of the tokens revoked.
-- $1 sessions  $2 now
WITH revoked AS (
    UPDATE auth.refresh_tokens AS t
       SET revoked = true, updated_at = $2
     WHERE t.session_id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       AND t.revoked IS FALSE
    RETURNING t.id, t.session_id
), ended AS (
    UPDATE auth.sessions AS s
       SET not_after = LEAST(s.not_after, $2), updated_at = $2
     WHERE s.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.uuid[])
       AND ((s.not_after OPERATOR(pg_catalog.<=) s.updated_at) IS NOT TRUE
            OR s.id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT r.session_id FROM revoked AS r)))
)
SELECT ARRAY(SELECT r.id FROM revoked AS r) AS revoked

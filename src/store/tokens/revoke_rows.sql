-- Revokes the locked rows $1, which have no session. The row has the ids of the tokens revoked.
-- $1 ids  $2 now
WITH revoked AS (
    UPDATE auth.refresh_tokens AS t
       SET revoked = true, updated_at = $2
     WHERE t.id OPERATOR(pg_catalog.=) ANY ((SELECT $1)::pg_catalog.int8[])
       AND t.revoked IS FALSE
    RETURNING t.id
)
SELECT ARRAY(SELECT r.id FROM revoked AS r) AS revoked

-- Adds a signing key, and deletes the keys $6. What another transaction has added meanwhile is not among them.
-- $1 kid  $2 alg  $3 private key  $4 active at  $5 now  $6 keys that are not needed any more
WITH retired AS (
    DELETE FROM auth.signing_keys AS k
     WHERE k.kid OPERATOR(pg_catalog.=) ANY ((SELECT $6)::pg_catalog.uuid[])
)
INSERT INTO auth.signing_keys (kid, alg, private_key, active_at, created_at)
VALUES ($1, $2, $3, $4, $5)

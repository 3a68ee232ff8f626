-- Whether the token with digest $1 was replaced by another one.
-- $1 digest
SELECT EXISTS (SELECT FROM auth.refresh_tokens AS c WHERE c.parent OPERATOR(pg_catalog.=) $1) AS found

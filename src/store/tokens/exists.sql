-- Whether there is a token with digest $1.
-- $1 digest
SELECT EXISTS (SELECT FROM auth.refresh_tokens AS t WHERE t.token OPERATOR(pg_catalog.=) $1) AS found

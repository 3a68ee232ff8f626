-- Refresh tokens: a row for each, which holds its digest. The table is Supabase's, to the letter.

CREATE SEQUENCE auth.refresh_tokens_id_seq AS pg_catalog.int8;

CREATE TABLE auth.refresh_tokens (
    instance_id pg_catalog.uuid,
    id pg_catalog.int8 NOT NULL DEFAULT pg_catalog.nextval('auth.refresh_tokens_id_seq'::pg_catalog.regclass),
    token pg_catalog.varchar(255),
    user_id pg_catalog.varchar(255),
    revoked pg_catalog.bool,
    created_at pg_catalog.timestamptz,
    updated_at pg_catalog.timestamptz,
    parent pg_catalog.varchar(255),
    session_id pg_catalog.uuid,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT refresh_tokens_token_unique UNIQUE (token),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (session_id) REFERENCES auth.sessions (id) ON DELETE CASCADE
);

ALTER SEQUENCE auth.refresh_tokens_id_seq OWNED BY auth.refresh_tokens.id;

CREATE INDEX refresh_tokens_instance_id_idx ON auth.refresh_tokens (instance_id);
CREATE INDEX refresh_tokens_instance_id_user_id_idx ON auth.refresh_tokens (instance_id, user_id);
CREATE INDEX refresh_tokens_parent_idx ON auth.refresh_tokens (parent);
CREATE INDEX refresh_tokens_session_id_revoked_idx ON auth.refresh_tokens (session_id, revoked);
CREATE INDEX refresh_tokens_updated_at_idx ON auth.refresh_tokens (updated_at DESC);

-- Without a policy only the owner sees a row; the functions run as the owner.
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;

-- A dump without the rows would log everybody out. One call a statement: two in one fail.
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_tokens', '');
SELECT pg_catalog.pg_extension_config_dump('auth.refresh_tokens_id_seq', '');

COMMENT ON TABLE auth.refresh_tokens IS 'Auth: Store of tokens used to refresh JWT tokens once they expire.';
COMMENT ON SEQUENCE auth.refresh_tokens_id_seq IS 'Auth: Ids of refresh tokens.';
COMMENT ON CONSTRAINT refresh_tokens_pkey ON auth.refresh_tokens IS 'One row a token.';
COMMENT ON CONSTRAINT refresh_tokens_token_unique ON auth.refresh_tokens IS 'Finds a presented token by its digest.';
COMMENT ON CONSTRAINT refresh_tokens_session_id_fkey ON auth.refresh_tokens IS 'A token dies with its session.';
COMMENT ON INDEX auth.refresh_tokens_instance_id_idx IS 'As in Supabase Auth.';
COMMENT ON INDEX auth.refresh_tokens_instance_id_user_id_idx IS 'As in Supabase Auth.';
COMMENT ON INDEX auth.refresh_tokens_parent_idx IS 'Finds a token''s children.';
COMMENT ON INDEX auth.refresh_tokens_session_id_revoked_idx IS 'Finds the live token of a session.';
COMMENT ON INDEX auth.refresh_tokens_updated_at_idx IS 'Finds tokens revoked long ago.';

COMMENT ON FUNCTION auth.issue_refresh_token(pg_catalog.text, pg_catalog.uuid, pg_catalog.uuid, pg_catalog.text, pg_catalog.text, auth.aal_level, pg_catalog.text, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.inet)
    IS 'Issues a refresh token: opens a session, or replaces the live token of one.';
COMMENT ON FUNCTION auth.rotate_refresh_token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.inet)
    IS 'Rotates a live refresh token: mints its child; answers a retry with the same child; detects reuse. Commit whatever the status is.';
COMMENT ON FUNCTION auth.explain_refresh_token(pg_catalog.text)
    IS 'The verdict that a rotation would give, without changing a row.';
COMMENT ON FUNCTION auth.revoke_refresh_token(pg_catalog.text)
    IS 'Ends the family of a refresh token (RFC 7009); counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.revoke_token_family(pg_catalog.text)
    IS 'Ends the family that descends from a token, or from a value of the columns token and parent; counts the tokens that were live till then.';
COMMENT ON FUNCTION auth.introspect_refresh_token(pg_catalog.text)
    IS 'What a token is good for, without using it (RFC 7662).';

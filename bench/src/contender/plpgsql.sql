-- What a good DBA would write without the extension: the same tables, order of locks, checks and
-- verdicts, in PL/pgSQL with pgcrypto. Left out: events, caps, a chain without a session.
CREATE EXTENSION pgcrypto;
CREATE SCHEMA bench;

CREATE FUNCTION bench.base64url(bytes bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN rtrim(translate(encode(bytes, 'base64'), E'+/\n', '-_'), '=');

CREATE FUNCTION bench.digest(token text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN rtrim(translate(encode(sha256(convert_to(token, 'UTF8')), 'base64'), E'+/\n', '-_'), '=');

CREATE FUNCTION bench.child(key text, parent text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 'pgrt_' || rtrim(translate(encode(public.hmac('pgrt_child_v1:' || parent, key, 'sha256'), 'base64'), E'+/\n', '-_'), '=');

CREATE FUNCTION bench.rotate(presented text, client text DEFAULT NULL, agent text DEFAULT NULL, address inet DEFAULT NULL)
RETURNS auth.refresh_token_grant
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    -- As the extension's database is set, so that both replace the derivation key at each rotation.
    reuse_interval CONSTANT interval := '0 s';
    idle_timeout CONSTANT interval := '15 d';
    session_lifetime CONSTANT interval := '30 d';
    digest CONSTANT text := bench.digest(presented);
    family uuid;
    session auth.sessions;
    parent auth.refresh_tokens;
    live auth.refresh_tokens;
    at timestamptz;
    key text;
    child text;
    answer auth.refresh_token_grant;
BEGIN
    IF presented IS NULL OR presented !~ '^pgrt_[A-Za-z0-9_-]{43}$' THEN
        answer.status := 'malformed';
        RETURN answer;
    END IF;
    SELECT t.session_id INTO family FROM auth.refresh_tokens AS t WHERE t.token = digest;
    IF NOT FOUND THEN
        answer.status := 'not_found';
        RETURN answer;
    END IF;
    SELECT s.* INTO session FROM auth.sessions AS s WHERE s.id = family FOR NO KEY UPDATE;
    at := clock_timestamp();
    SELECT t.* INTO parent FROM auth.refresh_tokens AS t WHERE t.token = digest;
    IF parent.id IS NULL OR session.id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the token changed hands';
    END IF;

    answer.user_id := session.user_id;
    answer.session_id := session.id;
    answer.instance_id := parent.instance_id;
    IF session.oauth_client_id IS DISTINCT FROM client THEN
        answer.status := 'client_mismatch';
        RETURN answer;
    END IF;
    IF parent.revoked THEN
        SELECT t.* INTO live FROM auth.refresh_tokens AS t
         WHERE t.session_id = family AND NOT t.revoked
         ORDER BY t.id DESC LIMIT 1;
        IF NOT FOUND THEN
            answer.status := 'revoked';
            RETURN answer;
        END IF;
        IF parent.updated_at < at - reuse_interval THEN
            UPDATE auth.refresh_tokens AS t SET revoked = true, updated_at = at WHERE t.session_id = family AND NOT t.revoked;
            UPDATE auth.sessions AS s SET not_after = at, updated_at = at WHERE s.id = family;
            answer.status := 'reuse_detected';
            RETURN answer;
        END IF;
    END IF;
    CASE
        WHEN session.not_after <= at THEN answer.reason := 'not_after';
        WHEN session.created_at + session_lifetime <= at THEN answer.reason := 'session_lifetime';
        WHEN COALESCE(session.refreshed_at, session.created_at) + idle_timeout <= at THEN answer.reason := 'idle_timeout';
        ELSE NULL;
    END CASE;
    IF answer.reason IS NOT NULL THEN
        answer.status := 'expired';
        RETURN answer;
    END IF;
    answer.session_expires_at := LEAST(session.not_after, session.created_at + session_lifetime);
    answer.expires_at := LEAST(answer.session_expires_at, at + idle_timeout);

    IF parent.revoked THEN
        child := presented;
        LOOP
            child := bench.child(session.refresh_token_hmac_key, child);
            EXIT WHEN child IS NULL OR bench.digest(child) = live.token;
            PERFORM FROM auth.refresh_tokens AS t WHERE t.token = bench.digest(child) AND t.session_id = family;
            IF NOT FOUND THEN
                answer.status := 'revoked';
                RETURN answer;
            END IF;
        END LOOP;
        answer.status := 'retried';
        answer.reason := 'concurrent';
        answer.refresh_token := child;
        answer.token_id := live.id;
        answer.issued_at := live.created_at;
        RETURN answer;
    END IF;

    key := session.refresh_token_hmac_key;
    IF key IS NULL OR session.refreshed_at IS NULL OR session.refreshed_at < at - reuse_interval THEN
        key := bench.base64url(public.gen_random_bytes(32));
    END IF;
    child := bench.child(key, presented);
    UPDATE auth.refresh_tokens AS t SET revoked = true, updated_at = at WHERE t.id = parent.id AND NOT t.revoked;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the token changed hands';
    END IF;
    INSERT INTO auth.refresh_tokens (instance_id, token, user_id, revoked, created_at, updated_at, parent, session_id)
    VALUES (parent.instance_id, bench.digest(child), parent.user_id, false, at, at, digest, family)
    RETURNING id INTO answer.token_id;
    UPDATE auth.sessions AS s
       SET updated_at = at,
           refreshed_at = at,
           user_agent = COALESCE(agent, s.user_agent),
           ip = COALESCE(address, s.ip),
           refresh_token_hmac_key = key,
           refresh_token_counter = COALESCE(s.refresh_token_counter, 0) + 1
     WHERE s.id = family;
    answer.status := 'rotated';
    answer.refresh_token := child;
    answer.issued_at := at;
    RETURN answer;
END
$body$;

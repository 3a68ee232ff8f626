-- An imitation of the rotation, to be raced. The pause between reading and writing makes the window
-- wide enough for others to slip in, where the locks let them.
CREATE SCHEMA imitation;

CREATE FUNCTION imitation.digest(token text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN rtrim(translate(encode(sha256(convert_to(token, 'UTF8')), 'base64'), '+/', '-_'), '=');

CREATE FUNCTION imitation.child(token text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'pgrt_' || encode(sha256(convert_to('child of ' || token, 'UTF8')), 'hex');

CREATE FUNCTION imitation.rotate(token text, client text) RETURNS auth.refresh_token_grant
LANGUAGE plpgsql
AS $$
DECLARE
    presented auth.refresh_tokens;
    live auth.refresh_tokens;
    answer auth.refresh_token_grant;
    candidate text := $1;
BEGIN
    /* lock before reading */
    SELECT * INTO presented FROM auth.refresh_tokens t WHERE t.token = imitation.digest($1);
    IF NOT FOUND THEN
        answer.status := 'not_found';
        RETURN answer;
    END IF;
    SELECT * INTO live FROM auth.refresh_tokens t WHERE t.session_id = presented.session_id AND NOT t.revoked;
    PERFORM pg_sleep(0.001);
    /* lock after reading */
    answer.session_id := presented.session_id;
    answer.user_id := presented.user_id;
    IF live.id IS NULL THEN
        answer.status := 'revoked';
    ELSIF live.id = presented.id THEN
        answer.status := 'rotated';
        answer.refresh_token := imitation.child($1);
        UPDATE auth.refresh_tokens t SET revoked = true, updated_at = clock_timestamp() WHERE t.id = presented.id
        RETURNING t.updated_at INTO answer.issued_at;
        INSERT INTO auth.refresh_tokens (token, parent, user_id, session_id, revoked, created_at, updated_at)
        VALUES (imitation.digest(answer.refresh_token), presented.token, presented.user_id, presented.session_id,
                false, answer.issued_at, answer.issued_at)
        RETURNING id INTO answer.token_id;
    ELSE
        answer.status := 'retried';
        WHILE imitation.digest(candidate) <> live.token LOOP
            candidate := imitation.child(candidate);
        END LOOP;
        answer.refresh_token := candidate;
        answer.token_id := live.id;
    END IF;
    RETURN answer;
END
$$;

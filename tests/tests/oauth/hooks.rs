//! The hook that adds claims to access tokens: what it may, and what becomes of what it does.

use super::request::{database, execute, refresh, request, sign_in};
use postgres::Client;
use refresh_tokens_tests::{contents, error_code};
use serde_json::json;

#[test]
fn a_hook_runs_with_the_rights_of_its_owner() {
    let database = database();
    let mut client = database.connect();
    let owner = format!("{}_app", database.name);
    execute(
        &mut client,
        &format!(
            "CREATE ROLE {owner}; CREATE SCHEMA app AUTHORIZATION {owner};
             SET ROLE {owner};
             CREATE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
             BEGIN
                 RETURN claims || jsonb_build_object('user', current_user, 'session', session_user,
                     'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user));
             END $$;
             RESET ROLE;
             SET refresh_tokens.access_token_hook = 'app.claims'"
        ),
    );
    let claims = sign_in(&mut client, "").claims();
    assert_eq!(claims["user"], owner.as_str());
    assert_eq!(claims["superuser"], false);
    // whoever owns it can't climb back
    for attempt in [
        "RESET ROLE",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "UPDATE auth.sessions SET user_id = 'mallory'",
        "TABLE auth.signing_keys",
    ] {
        execute(
            &mut client,
            &format!(
                "SET ROLE {owner};
                 CREATE OR REPLACE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
                 BEGIN EXECUTE '{}'; RETURN claims; END $$;
                 RESET ROLE",
                attempt.replace('\'', "''")
            ),
        );
        let refused = client.query_one("SELECT auth.sign_in_response('alice')", &[]);
        assert_eq!(error_code(refused), "42501", "{attempt}");
    }
    // an error in it leaves nobody in the wrong role
    let row = client.query_one("SELECT current_user::text", &[]);
    assert_eq!(row.expect("a role").get::<_, String>(0), "postgres");
}

/// What a hook leaves for the commit would be done as the caller, a superuser, say; and what it sets would stay set.
#[test]
fn a_hook_leaves_nothing_behind() {
    let database = database();
    let mut client = database.connect();
    let owner = format!("{}_app", database.name);
    let hook = |body: &str| {
        format!(
            "SET ROLE {owner};
             CREATE OR REPLACE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
             BEGIN {body}; RETURN claims; END $$;
             RESET ROLE"
        )
    };
    execute(
        &mut client,
        &format!(
            "CREATE ROLE {owner}; CREATE SCHEMA app AUTHORIZATION {owner};
             SET ROLE {owner};
             CREATE TABLE app.notes (note text);
             CREATE FUNCTION app.climb() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN ALTER ROLE {owner} SUPERUSER; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER climb AFTER INSERT ON app.notes DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION app.climb();
             RESET ROLE;
             SET refresh_tokens.access_token_hook = 'app.claims'"
        ),
    );
    for body in [
        "INSERT INTO app.notes VALUES ('climb')",
        "CREATE TEMPORARY TABLE pg_class ()",
        "EXECUTE 'DECLARE climb CURSOR WITH HOLD FOR SELECT 1'",
    ] {
        execute(&mut client, &hook(body));
        let refused = client.query_one("SELECT auth.sign_in_response('alice')", &[]);
        assert_eq!(error_code(refused), "42501", "{body}");
    }
    execute(
        &mut client,
        &hook("PERFORM set_config('search_path', 'app', false)"),
    );
    sign_in(&mut client, "");
    let row = client.query_one(
        "SELECT current_setting('search_path') = 'app', rolsuper FROM pg_roles WHERE rolname = $1",
        &[&owner],
    );
    let row = row.expect("a role");
    assert_eq!(
        (row.get::<_, bool>(0), row.get::<_, bool>(1)),
        (false, false)
    );
}

#[test]
fn a_hook_adds_and_replaces_claims_within_limits() {
    let database = database();
    let mut client = database.connect();
    execute(
        &mut client,
        "CREATE SCHEMA app;
         CREATE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE sql AS $$
             SELECT claims || '{\"role\": \"editor\", \"plan\": \"pro\", \"nbf\": 7}'
         $$;
         SET refresh_tokens.access_token_hook = 'app.claims'",
    );
    let login = sign_in(&mut client, "");
    let claims = login.claims();
    assert_eq!(
        (&claims["role"], &claims["plan"], &claims["nbf"]),
        (&json!("editor"), &json!("pro"), &json!(7))
    );
    let seconds = |name: &str| claims[name].as_i64().expect("seconds");
    assert_eq!(seconds("exp") - seconds("iat"), 3600);

    // a shorter life is told to the client; whole seconds of it
    for life in ["60", "60.75"] {
        execute(
            &mut client,
            &format!(
                "CREATE OR REPLACE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE sql AS $$
                     SELECT claims || jsonb_build_object('exp', (claims ->> 'iat')::bigint + {life})
                 $$"
            ),
        );
        let login = sign_in(&mut client, "");
        assert_eq!(login.body["expires_in"], 60);
        let claims = login.claims();
        let seconds = |name: &str| claims[name].as_i64().expect("seconds");
        assert_eq!(seconds("exp") - seconds("iat"), 60);
    }
}

/// Whoever may replace the hook's function decides what a user may do, and not who the user is or when the
/// user is logged out.
#[test]
fn a_hook_can_not_change_whose_token_it_is_nor_lengthen_its_life() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    execute(&mut client, "CREATE SCHEMA app");
    let before = rows(&mut client);
    let body = refresh(login.text("refresh_token")).to_string();
    for (change, claim) in [
        ("claims - 'sub'", "sub"),
        ("claims || '{\"sub\": 7}'", "sub"),
        ("claims || '{\"sub\": \"mallory-secret\"}'", "sub"),
        ("claims || '{\"sub\": null}'", "sub"),
        ("claims - 'session_id'", "session_id"),
        ("claims || '{\"session_id\": [\"a\"]}'", "session_id"),
        (
            "claims || jsonb_build_object('session_id', upper(claims ->> 'session_id') || ' ')",
            "session_id",
        ),
        (
            "claims || jsonb_build_object('session_id', gen_random_uuid())",
            "session_id",
        ),
        ("claims - 'jti'", "jti"),
        ("claims || '{\"jti\": \"x\"}'", "jti"),
        ("claims - 'iat'", "iat"),
        ("claims || '{\"iat\": 0}'", "iat"),
        ("claims - 'exp'", "exp"),
        ("claims || '{\"exp\": null}'", "exp"),
        ("claims || '{\"exp\": \"never\"}'", "exp"),
        ("claims || '{\"exp\": 99999999999}'", "exp"),
        ("claims || '{\"exp\": 1e300}'", "exp"),
        (
            "claims || jsonb_build_object('exp', (claims ->> 'exp')::bigint + 1)",
            "exp",
        ),
        ("'{}'::jsonb", "sub"),
    ] {
        execute(
            &mut client,
            &format!(
                "CREATE OR REPLACE FUNCTION app.claims(claims jsonb) RETURNS jsonb LANGUAGE sql AS $$
                     SELECT {change} $$;
                 SET refresh_tokens.access_token_hook = 'app.claims'"
            ),
        );
        let refused = client.query_one("SELECT auth.token($1::text::jsonb)", &[&body]);
        let error = refused.expect_err(change);
        let error = error.as_db_error().expect("the server's");
        assert_eq!(error.code().code(), "22023", "{change}");
        let message = format!(
            "the function of refresh_tokens.access_token_hook must not change the claim {claim}"
        );
        let found = error
            .message()
            .trim_end_matches(" to anything but an earlier time");
        assert_eq!(found, message, "{change}");
        let told = format!("{error:?}");
        assert!(
            !told.contains("alice") && !told.contains("mallory"),
            "{told}"
        );
    }
    assert_eq!(rows(&mut client), before);
    execute(&mut client, "RESET refresh_tokens.access_token_hook");
    assert_eq!(
        request(&mut client)
            .run("SELECT auth.token($1::text::jsonb)::text", &body)
            .status,
        200
    );
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The rows of both tables. No transaction gives a sequence's numbers back.
fn rows(client: &mut Client) -> Vec<String> {
    let mut contents = contents(client);
    contents.retain(|line| !line.starts_with("sequence"));
    contents
}

#[test]
fn a_hook_that_fails_undoes_the_refresh() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let before = rows(&mut client);
    execute(
        &mut client,
        "CREATE SCHEMA app;
         CREATE FUNCTION app.nothing(claims jsonb) RETURNS jsonb LANGUAGE sql RETURN NULL::jsonb;
         CREATE FUNCTION app.list(claims jsonb) RETURNS jsonb LANGUAGE sql RETURN '[]'::jsonb;
         CREATE FUNCTION app.deep(claims jsonb) RETURNS jsonb LANGUAGE sql AS
             $$SELECT claims || jsonb_build_object('x', (repeat('[', 200) || repeat(']', 200))::jsonb)$$;
         CREATE FUNCTION app.huge(claims jsonb) RETURNS jsonb LANGUAGE sql RETURN '{\"x\": 1e400}'::jsonb;
         CREATE FUNCTION app.broken(claims jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(1 / 0)';
         CREATE FUNCTION app.text(claims jsonb) RETURNS text LANGUAGE sql RETURN 'x';
         CREATE FUNCTION app.rows(claims jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT claims'",
    );
    let body = refresh(login.text("refresh_token")).to_string();
    for (hook, message) in [
        ("app.nothing", "must return a JSON object"),
        ("app.list", "must return a JSON object"),
        ("app.deep", "nested too deeply"),
        ("app.huge", "number that is too large"),
    ] {
        let set = format!("SET refresh_tokens.access_token_hook = {}", literal(hook));
        execute(&mut client, &set);
        let refused = client.query_one("SELECT auth.token($1::text::jsonb)", &[&body]);
        let error = refused.expect_err(hook);
        let error = error.as_db_error().expect("the server's");
        assert!(error.message().contains(message), "{hook}: {error}");
    }
    for (hook, code) in [
        ("app.nothing", "22023"),
        ("app.list", "22023"),
        ("app.deep", "22023"),
        ("app.huge", "22023"),
        ("app.broken", "22012"),
        ("app.text", "42883"),
        ("app.rows", "42883"),
        ("app.missing", "42883"),
        ("nowhere.at_all", "42883"),
        ("list", "42883"),
        ("app.list(jsonb); --", "42883"),
        ("a.b.c.d", "42883"),
        ("'\"", "42883"),
    ] {
        let set = format!("SET refresh_tokens.access_token_hook = {}", literal(hook));
        execute(&mut client, &set);
        let call = "SELECT auth.token($1::text::jsonb)";
        let refused = client.query_one(call, &[&body]);
        assert_eq!(error_code(refused), code, "{hook}");
    }
    assert_eq!(rows(&mut client), before);
    execute(&mut client, "RESET refresh_tokens.access_token_hook");
    let refreshed = request(&mut client).post("token", &refresh(login.text("refresh_token")));
    assert_eq!(refreshed.status, 200);
}

//! What a token is good for, looked at without being used.

use postgres::Client;
use refresh_tokens_tests::format::unknown_token;
use refresh_tokens_tests::{Database, call, issue, pass_time, revoke, rotate};

fn introspect(client: &mut Client, token: Option<&str>) -> String {
    client
        .query_one("SELECT auth.introspect_refresh_token($1)::text", &[&token])
        .expect("an answer")
        .get(0)
}

const INACTIVE: &str = r#"{"active": false}"#;

#[test]
fn introspection_tells_what_a_live_token_is_good_for() {
    let database = Database::create();
    let mut client = database.connect();
    let sql = "issue_refresh_token('alice', client_id => 'app', scopes => 'read write')";
    let token = call(&mut client, sql, &[]).expect("a login");
    let answer = introspect(&mut client, Some(token.token()));
    let same = client
        .query_one(
            "SELECT $1::text::jsonb = jsonb_build_object(
                        'active', true, 'token_type', 'refresh_token', 'sub', 'alice', 'client_id', 'app',
                        'scope', 'read write', 'session_id', $2::uuid,
                        'iat', floor(extract(epoch FROM t.created_at)),
                        'exp', floor(extract(epoch FROM t.created_at + interval '15 d')))
               FROM auth.refresh_tokens AS t",
            &[&answer, &token.session()],
        )
        .expect("JSON");
    assert!(same.get::<_, bool>(0), "{answer}");
    client
        .batch_execute(
            "SET refresh_tokens.idle_timeout = 0; SET refresh_tokens.session_lifetime = 0",
        )
        .expect("settings");
    let plain = issue(&mut client, "bob");
    let answer = introspect(&mut client, Some(plain.token()));
    let keys: Vec<String> = client
        .query(
            "SELECT jsonb_object_keys($1::text::jsonb) ORDER BY 1",
            &[&answer],
        )
        .expect("JSON")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(keys, ["active", "iat", "session_id", "sub", "token_type"]);
}

#[test]
fn introspection_tells_nothing_of_what_is_not_live() {
    let database = Database::create();
    let mut client = database.connect();
    assert_eq!(introspect(&mut client, None), INACTIVE);
    assert_eq!(introspect(&mut client, Some("pgrt_")), INACTIVE);
    assert_eq!(introspect(&mut client, Some(&unknown_token())), INACTIVE);
    let replaced = issue(&mut client, "alice");
    let live = rotate(&mut client, replaced.token()).expect("a verdict");
    // It would still be retried: but it is not the live token.
    assert_eq!(introspect(&mut client, Some(replaced.token())), INACTIVE);
    assert_ne!(introspect(&mut client, Some(live.token())), INACTIVE);
    pass_time(&mut client, live.session(), "1 year");
    assert_eq!(introspect(&mut client, Some(live.token())), INACTIVE);
    let ended = issue(&mut client, "alice");
    revoke(&mut client, &ended);
    assert_eq!(introspect(&mut client, Some(ended.token())), INACTIVE);
}

#[test]
fn looking_changes_nothing_and_works_in_a_read_only_transaction() {
    let database = Database::create();
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    let before = refresh_tokens_tests::contents(&mut client);
    client
        .batch_execute("SET default_transaction_read_only = on")
        .expect("a setting");
    assert_ne!(introspect(&mut client, Some(token.token())), INACTIVE);
    assert_eq!(
        client
            .query("SELECT * FROM auth.list_sessions('alice')", &[])
            .expect("rows")
            .len(),
        1
    );
    assert_eq!(refresh_tokens_tests::contents(&mut client), before);
}

//! What the endpoints read of the request's headers, and set of the answer's.

use super::request::{database, execute, is_not_cached, refresh, request};
use postgres::Client;
use serde_json::json;
use uuid::Uuid;

fn device(client: &mut Client, session: Uuid) -> (Option<String>, Option<String>) {
    let sql = "SELECT user_agent, host(ip) FROM auth.sessions WHERE id = $1";
    let row = client.query_one(sql, &[&session]).expect("a session");
    (row.get(0), row.get(1))
}

#[test]
fn user_agent_and_address_come_from_the_request() {
    let database = database();
    let mut client = database.connect();
    let headers =
        |agent: &str, forwarded: &str| json!({ "user-agent": agent, "x-forwarded-for": forwarded });
    let sql = "SELECT auth.sign_in_response($1)::text";
    let login = request(&mut client)
        .headers(headers("Firefox", "6.6.6.6, 192.0.2.1"))
        .run(sql, "alice");
    let session = login.session();
    assert_eq!(
        device(&mut client, session),
        (Some("Firefox".into()), None),
        "nobody is trusted"
    );
    execute(&mut client, "SET refresh_tokens.trusted_proxies = 1");
    let refreshed = request(&mut client)
        .headers(headers(&"é".repeat(2000), "6.6.6.6, 192.0.2.1"))
        .post("token", &refresh(login.text("refresh_token")));
    let (agent, ip) = device(&mut client, session);
    assert_eq!(agent, Some("é".repeat(1024)));
    assert_eq!(ip.as_deref(), Some("192.0.2.1"));

    // what can't be read is absent, and what was known stays
    let mut token = refreshed.text("refresh_token").to_owned();
    for hostile in [
        "".to_owned(),
        "not JSON".into(),
        "null".into(),
        "[]".into(),
        "{\"user-agent\": 7, \"x-forwarded-for\": [\"1.2.3.4\"]}".into(),
        "{\"x-forwarded-for\": \"1.2.3.4; DROP TABLE auth.sessions\"}".into(),
        format!("{{\"user-agent\": \"{}\"}}", "x".repeat(1 << 20)),
        "[".repeat(100_000),
    ] {
        let answer = request(&mut client)
            .with("request.headers", hostile.clone())
            .post("token", &refresh(&token));
        assert_eq!(answer.status, 200, "{hostile:.80}");
        assert_eq!(device(&mut client, session).1.as_deref(), Some("192.0.2.1"));
        token = answer.text("refresh_token").to_owned();
    }
}

/// A client can make its headers as long and as odd as it likes: who it is, is read all the same.
#[test]
fn who_calls_is_read_whatever_else_is_in_the_headers() {
    let database = database();
    let mut client = database.connect();
    execute(&mut client, "SET refresh_tokens.trusted_proxies = 1");
    let sql = "SELECT auth.sign_in_response($1)::text";
    let known = r#""user-agent": "thief", "x-forwarded-for": "192.0.2.7""#;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let long = "x".repeat(1 << 20);
    for (headers, agent) in [
        (format!(r#"{{"x": "{long}", {known}}}"#), "thief"),
        (format!(r#"{{{known}, "cookie": "{long}"}}"#), "thief"),
        (
            format!(r#"{{"x": {deep}, {known}, "y": 1e400, "z": "\ud800", "\u0000": "\u0000"}}"#),
            "thief",
        ),
        (
            format!(r#"{{"authorization": 7, {known}, "host": "\u0000"}}"#),
            "thief",
        ),
        (
            r#"{"user-agent": "thi\u0000ef", "x-forwarded-for": "192.0.2.7"}"#.into(),
            "thi\u{fffd}ef",
        ),
        (
            r#"{"user-agent": "thi\ud800ef", "x-forwarded-for": "192.0.2.7"}"#.into(),
            "thi\u{fffd}ef",
        ),
        (
            format!(
                r#"{{"user-agent": "{}{long}", "x-forwarded-for": "{long}, 192.0.2.7"}}"#,
                "é".repeat(1024)
            ),
            &"é".repeat(1024),
        ),
    ] {
        let login = request(&mut client)
            .with("request.headers", &headers)
            .run(sql, "alice");
        let (found, ip) = device(&mut client, login.session());
        // a surrogate alone is read as whatever stands for no character, as often as it takes
        let found = found.map(|found| found.replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}"));
        assert_eq!(found.as_deref(), Some(agent), "{headers:.100}");
        assert_eq!(ip.as_deref(), Some("192.0.2.7"), "{headers:.100}");
    }
}

/// What ends a session through PostgREST is recorded with who did it.
#[test]
fn an_event_has_the_device_of_the_request() {
    let database = database();
    let mut client = database.connect();
    execute(
        &mut client,
        "SET refresh_tokens.trusted_proxies = 1; SET refresh_tokens.max_sessions_per_user = 1",
    );
    let headers = |agent: &str| json!({ "user-agent": agent, "x-forwarded-for": "192.0.2.1" });
    let sql = "SELECT auth.sign_in_response($1)::text";
    let mut login = |agent: &str| {
        let request = request(&mut client).headers(headers(agent));
        request.run(sql, "alice")
    };
    login("phone");
    let login = login("laptop");
    request(&mut client)
        .headers(headers("thief"))
        .post("revoke", &json!({ "token": login.text("refresh_token") }));
    let sql = "SELECT concat_ws(' ', event, user_agent, host(ip)) FROM auth.refresh_token_events ORDER BY id";
    let rows = client.query(sql, &[]).expect("events");
    let events: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected = [
        "session_evicted laptop 192.0.2.1",
        "family_revoked thief 192.0.2.1",
    ];
    assert_eq!(events, expected);
}

#[test]
fn headers_that_the_application_has_set_stay() {
    let database = database();
    let mut client = database.connect();
    let own = json!([{ "Set-Cookie": "a=b" }]);
    let answer = request(&mut client)
        .with("response.headers", &own)
        .run("SELECT auth.sign_in_response($1)::text", "alice");
    assert!(answer.headers.contains(&own[0]) && is_not_cached(&answer));
    let answer = request(&mut client)
        .with("response.headers", "garbage")
        .run("SELECT auth.sign_in_response($1)::text", "alice");
    assert!(is_not_cached(&answer));
}

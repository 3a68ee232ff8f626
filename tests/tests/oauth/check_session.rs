//! What is asked of each request: whether the session that the claims name is live.

use super::request::{CLIENTS, basic, database, execute, request, rotate_key, sign, sign_in};
use postgres::Client;
use refresh_tokens_tests::Database;
use serde_json::{Value, json};
use uuid::Uuid;

/// What others sign with the same secret is judged by what RFC 7519 lets them write.
#[test]
fn an_access_token_with_odd_claims_is_judged_by_what_they_say() {
    let database = Database::create();
    let mut client = database.connect();
    let secret = "a secret of at least 32 bytes, as PostgREST has it";
    rotate_key(&mut client, &format!("'HS256', secret => '{secret}'"));
    execute(&mut client, CLIENTS);
    let login = sign_in(&mut client, "");
    let (id, now) = (
        login.session().to_string(),
        login.claims()["iat"].as_i64().expect("a time"),
    );
    for (more, active) in [
        (json!({}), true),
        (json!({ "exp": now as f64 + 3600.5 }), true),
        (json!({ "exp": now as f64 - 0.5 }), false),
        (json!({ "exp": null }), false),
        (json!({ "exp": (now + 3600).to_string() }), false),
        (json!({ "nbf": now }), true),
        (json!({ "nbf": now as f64 - 0.5 }), true),
        (json!({ "nbf": now + 3600 }), false),
        (json!({ "nbf": now as f64 + 3600.5 }), false),
        (json!({ "nbf": 1e300 }), false),
        (json!({ "nbf": "tomorrow" }), false),
        (json!({ "nbf": null }), false),
        (json!({ "session_id": id }), true),
        (json!({ "session_id": [id] }), false),
        (json!({ "session_id": format!("{id} ") }), false),
        (json!({ "session_id": null }), false),
        (json!({ "session_id": Uuid::new_v4().to_string() }), false),
        (json!({ "session_id": id, "sub": 7 }), false),
        (json!({ "sub": 7 }), true),
    ] {
        let mut claims = json!({ "sub": "alice", "exp": now + 3600 });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let looked = request(&mut client)
            .headers(basic("web", "s3%3Acret"))
            .post("introspect", &json!({ "token": sign(secret, &claims) }));
        assert_eq!(
            (looked.status, &looked.body["active"]),
            (200, &json!(active)),
            "{claims}"
        );
    }
}

/// What `check_session` says of claims: nothing, or why it refuses them.
fn check(client: &mut Client, claims: &str) -> Option<Value> {
    let mut transaction = client.transaction().expect("a transaction");
    let sql = "SELECT set_config('request.jwt.claims', $1, true)";
    transaction.execute(sql, &[&claims]).expect("claims");
    let error = transaction
        .execute("SELECT auth.check_session()", &[])
        .err()?;
    let error = error.as_db_error().expect("the server's").clone();
    assert_eq!(error.code().code(), "PGRST");
    let detail = serde_json::from_str::<Value>(error.detail().expect("a detail"));
    assert!(serde_json::from_str::<Value>(error.message()).is_ok());
    Some(detail.expect("JSON"))
}

#[test]
fn a_claim_that_can_not_be_read_is_a_refusal() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let id = login.session().to_string();
    let live = |claims: String| claims.replace("ID", &id);
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for passing in [
        "".to_owned(),
        r#"{"sub": 7}"#.into(),
        r#"{"session_id": "ID"}"#.into(),
        r#"{"sub": "alice", "session_id": "ID"}"#.into(),
        format!(r#"{{"x": {deep}, "y": 1e400, "sub": "alice", "session_id": "ID"}}"#),
        format!(r#"{{"x": {deep}, "y": 1e400}}"#),
    ] {
        let passing = live(passing);
        assert_eq!(check(&mut client, &passing), None, "{passing:.200}");
    }
    for refused in [
        // as long as the session is live, too: nobody can say which one it is
        r#"{"sub": 7, "session_id": "ID"}"#.to_owned(),
        r#"{"sub": "", "session_id": "ID"}"#.into(),
        r#"{"sub": null, "session_id": "ID"}"#.into(),
        r#"{"sub": ["alice"], "session_id": "ID"}"#.into(),
        r#"{"sub": "alice", "session_id": ["ID"]}"#.into(),
        r#"{"sub": "alice", "session_id": "ID "}"#.into(),
        r#"{"sub": "alice", "session_id": " ID"}"#.into(),
        r#"{"sub": "alice", "session_id": "alice"}"#.into(),
        r#"{"sub": "alice", "session_id": ""}"#.into(),
        r#"{"sub": "alice", "session_id": null}"#.into(),
        r#"{"sub": "alice", "session_id": 7}"#.into(),
        r#"{"sub": "alice", "session_id": {"ID": "ID"}}"#.into(),
        r#"{"session_id": false}"#.into(),
        r#"{"session_id": "ID", "session_id": "ID"}"#.into(),
        r#"{"sub": "alice", "sub": "alice", "session_id": "ID"}"#.into(),
        r#"{"sub": "alice", "session_id": "ID""#.into(),
        r#"[{"sub": "alice", "session_id": "ID"}]"#.into(),
        r#"["alice", "ID"]"#.into(),
        "7".into(),
        r#""alice""#.into(),
        "alice".into(),
        " ".into(),
        format!(r#"{{"sub": "alice", "session_id": {deep}}}"#),
    ] {
        let refused = live(refused);
        let answer = check(&mut client, &refused);
        assert_eq!(
            answer.map(|answer| answer["status"].clone()),
            Some(json!(401)),
            "{refused:.200}"
        );
    }
    // what the claims of an ended session can't be made to pass by
    request(&mut client).post("revoke", &json!({ "token": login.text("refresh_token") }));
    for claims in [
        json!({ "session_id": id }),
        json!({ "sub": 7, "session_id": id }),
        json!({ "sub": "alice", "session_id": id.to_uppercase() }),
        json!({ "sub": "alice", "session_id": format!("{{{id}}}") }),
        json!({ "sub": "alice", "session_id": id.replace('-', "") }),
        json!({ "sub": "alice", "session_id": format!("urn:uuid:{id}") }),
    ] {
        assert!(
            check(&mut client, &claims.to_string()).is_some(),
            "{claims}"
        );
    }
}

/// Claims that can't be read are nobody's, and what a user may do with its own sessions is done by nobody.
#[test]
fn who_can_not_be_read_is_nobody() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let id = login.session();
    let nul = format!(r#"{{"sub": "alice\u0000", "session_id": "{id}"}}"#);
    for claims in [
        format!(r#"{{"sub": ["alice"], "session_id": "{id}"}}"#),
        format!(r#"{{"sub": "bob", "sub": "alice", "session_id": "{id}"}}"#),
        format!(r#"{{"sub": "alice", "session_id": "{id}""#),
        nul,
    ] {
        let mut transaction = client.transaction().expect("a transaction");
        let sql = "SELECT set_config('request.jwt.claims', $1, true)";
        transaction.execute(sql, &[&claims]).expect("claims");
        let sql = "SELECT (SELECT count(*) FROM auth.my_sessions), auth.revoke_my_session($1),
                          auth.revoke_my_other_sessions()";
        let row = transaction.query_one(sql, &[&id]).expect("an answer");
        let counts: [i64; 3] = [0, 1, 2].map(|at| row.get(at));
        assert_eq!(counts, [0, 0, 0], "{claims}");
    }
}

#[test]
fn an_access_token_ends_with_its_session() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let check = |client: &mut Client, claims: &Value| check(client, &claims.to_string());
    let claims = Value::from(login.claims());
    assert_eq!(check(&mut client, &claims), None);
    for passing in [
        json!({}),
        json!({ "role": "anon" }),
        json!({ "sub": "service" }),
        Value::Null,
    ] {
        assert_eq!(check(&mut client, &passing), None, "{passing}");
    }
    request(&mut client).post("revoke", &json!({ "token": login.text("refresh_token") }));
    let refused = check(&mut client, &claims).expect("the session has ended");
    assert_eq!(refused["status"], 401);
    let challenge = refused["headers"]["WWW-Authenticate"].as_str();
    assert!(
        challenge.is_some_and(|challenge| challenge.starts_with("Bearer error=\"invalid_token\""))
    );
    // a string is read as it stands, whatever the connection makes of backslashes
    let mut client = database.connect();
    execute(&mut client, "SET standard_conforming_strings = off");
    let unknown = json!({ "sub": "alice", "session_id": Uuid::new_v4().to_string() });
    assert!(check(&mut client, &unknown).is_some());
}

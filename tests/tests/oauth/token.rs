//! The token endpoint, and the answer to a login: RFC 6749.

use super::request::{Answer, and, database, execute, is_not_cached, refresh, request, sign_in};
use refresh_tokens_tests::format::unknown_token;
use refresh_tokens_tests::{contents, error_code, pass_time, wait_until};
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::time::Instant;
use uuid::Uuid;

/// What is left of `seconds`, in whole ones, that began after `began`: however slow the machine is.
fn since(began: Instant, seconds: i64) -> RangeInclusive<i64> {
    let gone = i64::try_from(began.elapsed().as_secs()).expect("a short test");
    seconds - gone - 2..=seconds
}

#[test]
fn a_login_and_a_refresh_answer_as_rfc_6749_says() {
    let database = database();
    let mut client = database.connect();
    let began = Instant::now();
    let login = sign_in(&mut client, ", scope => 'read write'");
    let refreshed = request(&mut client).post("token", &refresh(login.text("refresh_token")));
    for answer in [&login, &refreshed] {
        assert_eq!(answer.status, 200);
        assert!(is_not_cached(answer), "{:?}", answer.headers);
        assert_eq!(answer.text("token_type"), "Bearer");
        assert_eq!(answer.body["expires_in"], 3600);
        assert_eq!(answer.text("scope"), "read write");
        assert_eq!(answer.body["refresh_token_timeout"], 15 * 86_400);
        let end = answer.body["authorization_expires_in"].as_i64();
        let end = end.expect("an end");
        assert!(since(began, 30 * 86_400).contains(&end), "{end}");
    }
    assert_ne!(login.text("refresh_token"), refreshed.text("refresh_token"));

    let claims = refreshed.claims();
    for (name, value) in [
        ("sub", "alice"),
        ("role", "authenticated"),
        ("scope", "read write"),
    ] {
        assert_eq!(claims[name], value);
    }
    let seconds = |name: &str| claims[name].as_i64().expect("seconds");
    assert_eq!(seconds("exp") - seconds("iat"), 3600);
    assert_eq!(login.session(), refreshed.session());
    assert_ne!(login.claims()["jti"], claims["jti"]);
    for absent in ["iss", "aud", "client_id"] {
        assert!(!claims.contains_key(absent), "{absent}");
    }
}

#[test]
fn named_arguments_do_what_a_document_does() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let sql =
        "SELECT auth.token(grant_type => 'refresh_token', refresh_token => $1, resource => 'x',
                                 \"pre-authorized_code\" => 'y')::text";
    let refreshed = request(&mut client).run(sql, login.text("refresh_token"));
    assert_eq!(refreshed.status, 200);
    let sql = "SELECT auth.revoke(token => $1, token_type_hint => 'refresh_token')::text";
    let revoked = request(&mut client).run(sql, refreshed.text("refresh_token"));
    assert_eq!((revoked.status, revoked.body), (200, json!({})));
    let sql = "SELECT auth.introspect(token => $1)::text";
    let claims = json!({ "sub": "alice" });
    let looked = request(&mut client)
        .with("request.jwt.claims", claims)
        .run(sql, refreshed.text("refresh_token"));
    assert_eq!(looked.body, json!({ "active": false }));
    let wrong = "SELECT auth.token(grant_type => $1)::text";
    let wrong = request(&mut client).run(wrong, "password");
    assert_eq!(wrong.error(), (400, "unsupported_grant_type"));
}

#[test]
fn the_settings_are_in_the_token() {
    let database = database();
    let mut client = database.connect();
    execute(
        &mut client,
        "SET refresh_tokens.access_token_issuer = 'https://example.com';
         SET refresh_tokens.access_token_audience = 'api';
         SET refresh_tokens.access_token_role = '';
         SET refresh_tokens.access_token_lifetime = '5 min'",
    );
    let login = sign_in(&mut client, ", client_id => 'app'");
    let claims = login.claims();
    assert_eq!(claims["iss"], "https://example.com");
    assert_eq!(claims["aud"], "api");
    assert_eq!(claims["client_id"], "app");
    assert!(!claims.contains_key("role") && !claims.contains_key("scope"));
    assert_eq!(login.body["expires_in"], 300);
    assert!(login.body.get("scope").is_none());
}

#[test]
fn a_token_never_outlives_its_session() {
    let database = database();
    let mut client = database.connect();
    let began = Instant::now();
    let login = sign_in(&mut client, ", not_after => now() + interval '10 min'");
    let life = |answer: &Answer| answer.body["expires_in"].as_i64().expect("seconds");
    assert!(
        since(began, 600).contains(&life(&login)),
        "{}",
        life(&login)
    );
    pass_time(&mut client, login.session(), "9 min");
    let refreshed = request(&mut client).post("token", &refresh(login.text("refresh_token")));
    assert!(
        since(began, 60).contains(&life(&refreshed)),
        "{}",
        life(&refreshed)
    );
}

/// Else the client would learn too late that there is nothing left to refresh with.
#[test]
fn an_access_token_never_outlives_the_refresh_token_that_came_with_it() {
    let database = database();
    let mut client = database.connect();
    execute(&mut client, "SET refresh_tokens.idle_timeout = '15 min'");
    let began = Instant::now();
    let second = |answer: &Answer, name: &str| answer.body[name].as_i64().expect("seconds");
    let is_right = |answer: &Answer, about: i64| {
        let (life, timeout) = (
            second(answer, "expires_in"),
            second(answer, "refresh_token_timeout"),
        );
        let claims = answer.claims();
        let exp = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
        assert!(life <= timeout && exp == life, "{life} {timeout} {exp}");
        assert!(since(began, about).contains(&life), "{life}");
    };
    let login = sign_in(&mut client, "");
    is_right(&login, 900);
    pass_time(&mut client, login.session(), "10 min");
    let body = refresh(login.text("refresh_token"));
    let refreshed = request(&mut client).post("token", &body);
    is_right(&refreshed, 900);
    // a retry is given the same token, whose time goes on
    execute(&mut client, "SET refresh_tokens.reuse_interval = '1 h'");
    pass_time(&mut client, login.session(), "5 min");
    is_right(&request(&mut client).post("token", &body), 600);
    // and one who waits for the session's lock is told times from when the wait was over
    let (mut holder, waiting) = (database.connect(), database.name.clone());
    let mut transaction = holder.transaction().expect("a transaction");
    let sql = "SELECT FROM auth.sessions WHERE id = $1 FOR UPDATE";
    transaction
        .execute(sql, &[&login.session()])
        .expect("a lock");
    let token = refreshed.text("refresh_token").to_owned();
    let caller = std::thread::spawn(move || request(&mut client).post("token", &refresh(&token)));
    let mut looker = database.connect();
    let waits = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = $1 AND wait_event_type = 'Lock'
                    AND query_start < clock_timestamp() - interval '1100 ms'";
    wait_until("the caller has waited for more than a second", || {
        let row = looker.query_one(waits, &[&waiting]).expect("a number");
        row.get::<_, i64>(0) == 1
    });
    transaction.commit().expect("a commit");
    let answer = caller.join().expect("an answer");
    assert_eq!(second(&answer, "refresh_token_timeout"), 900);
    is_right(&answer, 900);
}

#[test]
fn a_refusal_is_returned_and_what_it_did_is_committed() {
    let database = database();
    let (mut client, mut other) = (database.connect(), database.connect());
    let login = sign_in(&mut client, "");
    let stale = login.text("refresh_token").to_owned();
    let live = request(&mut client).post("token", &refresh(&stale));
    pass_time(&mut client, login.session(), "1 h");
    let reused = request(&mut client).post("token", &refresh(&stale));
    assert_eq!(reused.error(), (400, "invalid_grant"));
    assert!(is_not_cached(&reused));
    let sql = "SELECT auth.is_session_live($1)";
    let row = other.query_one(sql, &[&login.session()]);
    assert!(!row.expect("an answer").get::<_, bool>(0));

    // one answer for whatever is not to be used: nobody learns more from it
    let mut bodies = vec![reused.body];
    let expired = sign_in(&mut client, "");
    pass_time(&mut client, expired.session(), "16 d");
    for token in [
        live.text("refresh_token"),
        expired.text("refresh_token"),
        &unknown_token(),
        "x",
    ] {
        let refused = request(&mut client).post("token", &refresh(token));
        assert_eq!(refused.error(), (400, "invalid_grant"));
        bodies.push(refused.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[test]
fn a_retry_gets_the_same_refresh_token() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read'");
    let body = refresh(login.text("refresh_token"));
    let first = request(&mut client).post("token", &body);
    let second = request(&mut client).post("token", &body);
    assert_eq!(first.text("refresh_token"), second.text("refresh_token"));
    assert_ne!(first.claims()["jti"], second.claims()["jti"]);
    // with rotation off it stays as it is
    execute(&mut client, "SET refresh_tokens.rotation = off");
    let kept = request(&mut client).post("token", &refresh(first.text("refresh_token")));
    assert_eq!(kept.text("refresh_token"), first.text("refresh_token"));
}

#[test]
fn a_request_that_makes_no_sense_changes_nothing() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read'");
    let token = login.text("refresh_token");
    let before = contents(&mut client);
    let good = refresh(token);
    let big = "x".repeat(1 << 20);
    for (body, error) in [
        (json!({}), "invalid_request"),
        (Value::Null, "invalid_request"),
        (json!([]), "invalid_request"),
        (json!([good]), "invalid_request"),
        (json!("refresh_token"), "invalid_request"),
        (json!({ "grant_type": "refresh_token" }), "invalid_request"),
        (json!({ "refresh_token": token }), "invalid_request"),
        (and(good.clone(), "refresh_token", ""), "invalid_request"),
        (
            and(good.clone(), "refresh_token", json!([token])),
            "invalid_request",
        ),
        (and(good.clone(), "grant_type", 7), "invalid_request"),
        (and(good.clone(), "scope", json!({})), "invalid_request"),
        (and(good.clone(), "client_id", true), "invalid_request"),
        (and(good.clone(), "client_secret", "s"), "invalid_request"),
        (
            and(good.clone(), "grant_type", "authorization_code"),
            "unsupported_grant_type",
        ),
        (
            and(good.clone(), "grant_type", big.as_str()),
            "unsupported_grant_type",
        ),
        (and(good.clone(), "scope", "write"), "invalid_scope"),
        (and(good.clone(), "scope", "read  write"), "invalid_scope"),
        (and(good.clone(), "scope", big.as_str()), "invalid_scope"),
        (
            and(good.clone(), "refresh_token", big.as_str()),
            "invalid_grant",
        ),
        (and(good.clone(), "client_assertion", "x"), "invalid_client"),
    ] {
        let refused = request(&mut client).post("token", &body);
        let status = if error == "invalid_client" { 401 } else { 400 };
        assert_eq!(refused.error(), (status, error), "{body:.200}");
        assert!(is_not_cached(&refused));
        assert!(!refused.body.to_string().contains(token), "{body:.200}");
    }
    assert_eq!(contents(&mut client), before);
    let refreshed = request(&mut client).post("token", &and(good, "unknown", json!([1, {}])));
    assert_eq!(refreshed.status, 200);
}

/// What `jsonb` can hold and a parser may choke on.
#[test]
fn numbers_and_depths_of_any_size_are_answered() {
    let database = database();
    let mut client = database.connect();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for function in ["token", "revoke", "introspect"] {
        for (body, error) in [
            ("1e400".to_owned(), "invalid_request"),
            (deep.clone(), "invalid_request"),
            (
                r#"{"token": 1e400, "grant_type": 1e400}"#.into(),
                "invalid_request",
            ),
            (
                format!(r#"{{"token": {deep}, "grant_type": {deep}}}"#),
                "invalid_request",
            ),
            (
                format!(r#"{{"x": 1e400, "y": {deep}, "grant_type": "x"}}"#),
                match function {
                    "token" => "unsupported_grant_type",
                    _ => "invalid_request",
                },
            ),
        ] {
            let sql = format!("SELECT auth.{function}($1::text::jsonb)::text");
            let refused = request(&mut client).run(&sql, &body);
            assert_eq!(refused.error(), (400, error), "{function} {body:.100}");
        }
    }
}

#[test]
fn endpoints_refuse_a_transaction_that_can_not_write() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let mut reader = client
        .build_transaction()
        .read_only(true)
        .start()
        .expect("a transaction");
    for call in [
        "token()",
        "token('{}'::jsonb)",
        "revoke()",
        "introspect()",
        "sign_in_response('alice')",
    ] {
        let mut savepoint = reader.savepoint("s").expect("a savepoint");
        let refused = savepoint.query_one(&format!("SELECT auth.{call}"), &[]);
        assert_eq!(error_code(refused), "25006", "{call}");
    }
    let row = reader.query_one("SELECT auth.jwks() -> 'keys' -> 0 ->> 'kid'", &[]);
    assert!(row.expect("the keys").get::<_, Option<String>>(0).is_some());
    drop(reader);
    let refreshed = request(&mut client).post("token", &refresh(login.text("refresh_token")));
    assert_eq!(refreshed.status, 200);
}

#[test]
fn a_narrower_scope_narrows_the_access_token_alone() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read write'");
    let body = and(refresh(login.text("refresh_token")), "scope", "write");
    let narrowed = request(&mut client).post("token", &body);
    assert_eq!(narrowed.text("scope"), "write");
    assert_eq!(narrowed.claims()["scope"], "write");
    let whole = request(&mut client).post("token", &refresh(narrowed.text("refresh_token")));
    assert_eq!(whole.text("scope"), "read write");
    // nothing was consented to
    let bare = sign_in(&mut client, "");
    let body = and(refresh(bare.text("refresh_token")), "scope", "read");
    let refused = request(&mut client).post("token", &body);
    assert_eq!(refused.error(), (400, "invalid_scope"));
}

/// A request can be as long as PostgREST lets it: its answer is not.
#[test]
fn a_scope_that_is_asked_for_is_short_and_each_word_of_it_is_told_once() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read write'");
    let ask = |token: &str, scope: &str| and(refresh(token), "scope", scope);
    let body = ask(login.text("refresh_token"), "write read write read");
    let narrowed = request(&mut client).post("token", &body);
    assert_eq!(narrowed.text("scope"), "write read");
    assert_eq!(narrowed.claims()["scope"], "write read");
    let token = narrowed.text("refresh_token").to_owned();
    let most = format!("{}read", "read ".repeat(818));
    for (scope, status) in [
        (most.clone(), 200),
        (format!("{most} read"), 400),
        (format!("{}read", "read ".repeat(200_000)), 400),
    ] {
        let answer = request(&mut client).post("token", &ask(&token, &scope));
        assert_eq!(answer.status, status, "{}", scope.len());
        match status {
            200 => assert_eq!(answer.text("scope"), "read"),
            _ => assert_eq!(answer.error(), (400, "invalid_scope")),
        }
    }
}

/// The application's own scopes are of any length.
#[test]
fn scopes_of_the_application_are_as_long_as_it_likes() {
    let database = database();
    let mut client = database.connect();
    let words: Vec<_> = (0..100_000).map(|n| format!("w{n}")).collect();
    let sql = "SELECT auth.sign_in_response('alice', scope => $1)::text";
    let login = request(&mut client).run(sql, &words.join(" "));
    let wanted = words[99_000..99_500].join(" ");
    let body = and(
        refresh(login.text("refresh_token")),
        "scope",
        wanted.as_str(),
    );
    let narrowed = request(&mut client).post("token", &body);
    assert_eq!(narrowed.text("scope"), wanted);
}

/// Who asks for too much learns that the token is live. So it is recorded who asked.
#[test]
fn a_scope_that_is_too_wide_is_recorded_and_uses_nothing_up() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read'");
    let before = contents(&mut client);
    let body = and(refresh(login.text("refresh_token")), "scope", "read admin");
    for _ in 0..3 {
        let refused = request(&mut client)
            .headers(json!({ "user-agent": "thief" }))
            .post("token", &body);
        assert_eq!(refused.error(), (400, "invalid_scope"));
    }
    assert_eq!(contents(&mut client), before);
    let sql = "SELECT event, user_id, session_id, user_agent, token_id = (SELECT id FROM auth.refresh_tokens)
                 FROM auth.refresh_token_events";
    let rows = client.query(sql, &[]).expect("events");
    assert_eq!(rows.len(), 1, "once a minute");
    assert_eq!(rows[0].get::<_, &str>(0), "scope_exceeded");
    assert_eq!(rows[0].get::<_, &str>(1), "alice");
    assert_eq!(rows[0].get::<_, Uuid>(2), login.session());
    assert_eq!(rows[0].get::<_, &str>(3), "thief");
    assert!(rows[0].get::<_, bool>(4));
    // who holds no token of the client's learns nothing by it, and neither does a token that is over
    let foreign = request(&mut client).post("token", &and(body.clone(), "client_id", "other"));
    assert_eq!(foreign.error(), (400, "invalid_grant"));
    request(&mut client).post("revoke", &json!({ "token": login.text("refresh_token") }));
    let over = request(&mut client).post("token", &body);
    assert_eq!(over.error(), (400, "invalid_grant"));
}

/// A scope that is too wide must not hide that somebody else has the token.
#[test]
fn reuse_is_detected_whatever_scope_is_asked_for() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read'");
    let body = refresh(login.text("refresh_token"));
    request(&mut client).post("token", &body);
    pass_time(&mut client, login.session(), "1 h");
    let refused = request(&mut client).post("token", &and(body, "scope", "admin"));
    assert_eq!(refused.error(), (400, "invalid_grant"));
    let sql = "SELECT auth.is_session_live($1)";
    let row = client.query_one(sql, &[&login.session()]);
    assert!(!row.expect("an answer").get::<_, bool>(0));
}

//! The OAuth 2 endpoints and what they stand on: access tokens, signing keys, hooks, the request's
//! headers. How PostgREST calls them is tested elsewhere; here a transaction stands for a request.

use postgres::{Client, Transaction};
use refresh_tokens_tests::format::unknown_token;
use refresh_tokens_tests::{Database, contents, error_code, pass_time, wait_until};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A database with a key to sign with.
fn database() -> Database {
    let database = Database::create();
    execute(&mut database.connect(), "SELECT auth.rotate_signing_key()");
    database
}

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.200}\n{done:?}");
}

/// What came of a request: the status, the headers and the body.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: Vec<Value>,
    body: Value,
}

impl Answer {
    fn text(&self, name: &str) -> &str {
        let value = self.body[name].as_str();
        value.unwrap_or_else(|| panic!("no {name} in {:?}", self.body))
    }

    fn error(&self) -> (u16, &str) {
        (self.status, self.text("error"))
    }

    fn claims(&self) -> Map<String, Value> {
        claims(self.text("access_token"))
    }

    fn session(&self) -> Uuid {
        let id = self.claims()["session_id"].as_str().map(str::to_owned);
        id.expect("a session").parse().expect("a UUID")
    }
}

/// The claims of a token, which nothing has verified.
fn claims(token: &str) -> Map<String, Value> {
    let body = token.split('.').nth(1).expect("three parts");
    let body = data_encoding::BASE64URL_NOPAD.decode(body.as_bytes());
    serde_json::from_slice(&body.expect("base64url")).expect("a JSON object")
}

/// One request: `function` of the schema `auth` is called with `body`, as one committed transaction.
struct Request<'a> {
    client: &'a mut Client,
    settings: Vec<(&'static str, String)>,
}

fn request(client: &mut Client) -> Request<'_> {
    Request {
        client,
        settings: Vec::new(),
    }
}

impl Request<'_> {
    fn with(mut self, setting: &'static str, value: impl ToString) -> Self {
        self.settings.push((setting, value.to_string()));
        self
    }

    fn headers(self, headers: Value) -> Self {
        self.with("request.headers", headers)
    }

    fn post(self, function: &str, body: &Value) -> Answer {
        let sql = format!("SELECT auth.{function}($1::text::jsonb)::text");
        self.run(&sql, &body.to_string())
    }

    /// Runs a statement with one parameter that answers with JSON.
    fn run(self, sql: &str, parameter: &str) -> Answer {
        let mut transaction = self.client.transaction().expect("a transaction");
        for (setting, value) in self.settings {
            let sql = "SELECT set_config($1, $2, true)";
            transaction
                .execute(sql, &[&setting, &value])
                .expect("a setting");
        }
        let row = transaction.query_one(sql, &[&parameter]);
        let body: String = row.expect("an answer").get(0);
        let answer = Answer {
            status: setting(&mut transaction, "response.status")
                .map_or(200, |status| status.parse().expect("a status")),
            headers: setting(&mut transaction, "response.headers").map_or_else(Vec::new, |list| {
                serde_json::from_str(&list).expect("a list")
            }),
            body: serde_json::from_str(&body).expect("JSON"),
        };
        transaction.commit().expect("a commit");
        answer
    }
}

fn setting(transaction: &mut Transaction<'_>, name: &str) -> Option<String> {
    let sql = "SELECT nullif(current_setting($1, true), '')";
    let row = transaction.query_one(sql, &[&name]);
    row.expect("a setting").get(0)
}

fn sign_in(client: &mut Client, arguments: &str) -> Answer {
    let sql = format!("SELECT auth.sign_in_response($1{arguments})::text");
    request(client).run(&sql, "alice")
}

fn refresh(token: &str) -> Value {
    json!({ "grant_type": "refresh_token", "refresh_token": token })
}

/// `body` with one more member.
fn and(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

fn is_not_cached(answer: &Answer) -> bool {
    answer
        .headers
        .contains(&json!({ "Cache-Control": "no-store" }))
        && answer.headers.contains(&json!({ "Pragma": "no-cache" }))
}

// ---- token ---------------------------------------------------------------------------------------

#[test]
fn a_login_and_a_refresh_answer_as_rfc_6749_says() {
    let database = database();
    let mut client = database.connect();
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
        assert!((30 * 86_400 - 10..=30 * 86_400).contains(&end), "{end}");
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
    let login = sign_in(&mut client, ", not_after => now() + interval '10 min'");
    let life = |answer: &Answer| answer.body["expires_in"].as_i64().expect("seconds");
    assert!((590..=600).contains(&life(&login)), "{}", life(&login));
    pass_time(&mut client, login.session(), "9 min");
    let refreshed = request(&mut client).post("token", &refresh(login.text("refresh_token")));
    assert!(
        (50..=60).contains(&life(&refreshed)),
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
    let second = |answer: &Answer, name: &str| answer.body[name].as_i64().expect("seconds");
    let is_right = |answer: &Answer, about: i64| {
        let (life, timeout) = (
            second(answer, "expires_in"),
            second(answer, "refresh_token_timeout"),
        );
        let claims = answer.claims();
        let exp = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
        assert!(life <= timeout && exp == life, "{life} {timeout} {exp}");
        assert!((about - 5..=about).contains(&life), "{life}");
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

// ---- clients -------------------------------------------------------------------------------------

const CLIENTS: &str = "
    CREATE SCHEMA app;
    CREATE FUNCTION app.authenticate(client_id text, client_secret text) RETURNS boolean
    LANGUAGE sql AS $$
        SELECT CASE client_id WHEN 'web' THEN coalesce(client_secret = 's3:cret', false)
                              WHEN 'phone' THEN client_secret IS NULL
                              ELSE NULL END
    $$;
    SET refresh_tokens.client_authentication_hook = 'app.authenticate'";

fn basic(client_id: &str, secret: &str) -> Value {
    let credentials = format!("{client_id}:{secret}");
    let credentials = data_encoding::BASE64.encode(credentials.as_bytes());
    json!({ "authorization": format!("Basic {credentials}") })
}

#[test]
fn a_confidential_client_authenticates_and_a_public_one_says_its_name() {
    let database = database();
    let mut client = database.connect();
    execute(&mut client, CLIENTS);
    let web = sign_in(&mut client, ", client_id => 'web'");
    let phone = sign_in(&mut client, ", client_id => 'phone'");
    let post =
        |token: &Answer, id: &str| and(refresh(token.text("refresh_token")), "client_id", id);

    // by a parameter, by the header, and with no secret at all
    let with_secret = and(post(&web, "web"), "client_secret", "s3:cret");
    let web = request(&mut client).post("token", &with_secret);
    assert_eq!(web.status, 200);
    assert_eq!(web.claims()["client_id"], "web");
    let body = refresh(web.text("refresh_token"));
    let headers = basic("web", "s3%3Acret");
    let web = request(&mut client).headers(headers).post("token", &body);
    assert_eq!(web.status, 200);
    let body = post(&phone, "phone");
    assert_eq!(request(&mut client).post("token", &body).status, 200);

    // a failure rotates nothing, and reveals nothing about the token
    let body = refresh(web.text("refresh_token"));
    for headers in [
        basic("web", "wrong"),
        basic("nobody", "s3%3Acret"),
        basic("web", ""),
        json!({ "authorization": "Basic !" }),
    ] {
        let refused = request(&mut client).headers(headers).post("token", &body);
        assert_eq!(refused.error(), (401, "invalid_client"));
        let challenge = json!({ "WWW-Authenticate": "Basic realm=\"token\"" });
        assert!(
            refused.headers.contains(&challenge),
            "{:?}",
            refused.headers
        );
    }
    let refused = request(&mut client).post("token", &post(&web, "web"));
    assert_eq!(refused.error(), (401, "invalid_client"));
    // another client, and none
    let refused = request(&mut client).post("token", &post(&web, "phone"));
    assert_eq!(refused.error(), (400, "invalid_grant"));
    let refused = request(&mut client).post("token", &body);
    assert_eq!(refused.error(), (400, "invalid_grant"));
    let headers = basic("web", "s3%3Acret");
    let web = request(&mut client).headers(headers).post("token", &body);
    assert_eq!(web.status, 200, "none of these has used it up");
}

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

// ---- revoke, introspect, check_session -----------------------------------------------------------

#[test]
fn revocation_ends_the_session_and_tells_nobody_what_was_there() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, "");
    let token = login.text("refresh_token");
    for body in [
        json!({ "token": unknown_token() }),
        json!({ "token": "x", "token_type_hint": "access_token" }),
        json!({ "token": token, "token_type_hint": "nonsense" }),
        json!({ "token": token }),
    ] {
        let answer = request(&mut client).post("revoke", &body);
        assert_eq!((answer.status, &answer.body), (200, &json!({})), "{body}");
        assert!(is_not_cached(&answer));
    }
    let refused = request(&mut client).post("token", &refresh(token));
    assert_eq!(refused.error(), (400, "invalid_grant"));
    let missing = request(&mut client).post("revoke", &json!({ "token": "" }));
    assert_eq!(missing.error(), (400, "invalid_request"));
    // its access token is one of a session that has ended
    let body = json!({ "token": login.text("access_token") });
    let answer = request(&mut client).post("revoke", &body);
    assert_eq!((answer.status, &answer.body), (200, &json!({})));
}

/// RFC 7009, section 2.1: what is revoked with an access token is up to the server. Clients that hold one alone,
/// and log out by it, mean the login.
#[test]
fn an_access_token_is_revoked_with_its_session() {
    let database = database();
    let mut client = database.connect();
    execute(&mut client, CLIENTS);
    let events = |client: &mut Client| -> i64 {
        let sql = "SELECT count(*) FROM auth.refresh_token_events WHERE event = 'family_revoked'";
        client.query_one(sql, &[]).expect("a number").get(0)
    };
    let login = sign_in(&mut client, ", client_id => 'phone'");
    let body = json!({ "token": login.text("access_token"), "token_type_hint": "access_token" });
    let before = contents(&mut client);
    let none = request(&mut client).post("revoke", &body);
    assert_eq!(none.error(), (400, "invalid_grant"));
    let headers = basic("web", "s3%3Acret");
    let other = request(&mut client).headers(headers).post("revoke", &body);
    assert_eq!(other.error(), (400, "invalid_grant"));
    let mut forged = login.text("access_token").to_owned();
    forged.replace_range(forged.len() - 4.., "AAAA");
    let body_forged = json!({ "token": forged, "client_id": "phone" });
    let unknown = request(&mut client).post("revoke", &body_forged);
    assert_eq!((unknown.status, unknown.body), (200, json!({})));
    assert_eq!(contents(&mut client), before);
    assert_eq!(events(&mut client), 0);
    for _ in 0..2 {
        let own = request(&mut client).post("revoke", &and(body.clone(), "client_id", "phone"));
        assert_eq!((own.status, own.body), (200, json!({})));
        assert_eq!(
            events(&mut client),
            1,
            "the second time there was nothing to end"
        );
    }
    let spent = and(refresh(login.text("refresh_token")), "client_id", "phone");
    let refused = request(&mut client).post("token", &spent);
    assert_eq!(refused.error(), (400, "invalid_grant"));

    // one that names no session is not of this extension's making, and there is nothing to end
    let secret = "a secret of at least 32 bytes, as PostgREST has it";
    rotate_key(&mut client, &format!("'HS256', secret => '{secret}'"));
    let exp = json!(99_999_999_999_i64);
    for claims in [
        json!({ "sub": "alice", "exp": exp }),
        json!({ "sub": "alice", "exp": exp, "session_id": ["x"] }),
    ] {
        let body = json!({ "token": sign(secret, &claims) });
        let refused = request(&mut client).post("revoke", &body);
        assert_eq!(refused.error(), (400, "unsupported_token_type"), "{claims}");
    }
}

/// A token that whoever shares the secret of HS256 may have signed.
fn sign(secret: &str, claims: &Value) -> String {
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let header = json!({ "alg": "HS256", "typ": "JWT" }).to_string();
    let message = format!(
        "{}.{}",
        encode(header.as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", encode(signature.as_ref()))
}

#[test]
fn a_bound_session_is_revoked_by_its_client_alone() {
    let database = database();
    let mut client = database.connect();
    execute(&mut client, CLIENTS);
    let login = sign_in(&mut client, ", client_id => 'phone'");
    let body = json!({ "token": login.text("refresh_token") });
    let before = contents(&mut client);
    let none = request(&mut client).post("revoke", &body);
    assert_eq!(none.error(), (400, "invalid_grant"));
    let headers = basic("web", "s3%3Acret");
    let other = request(&mut client).headers(headers).post("revoke", &body);
    assert_eq!(other.error(), (400, "invalid_grant"));
    let wrong = and(
        and(body.clone(), "client_id", "phone"),
        "client_secret",
        "x",
    );
    let wrong = request(&mut client).post("revoke", &wrong);
    assert_eq!(wrong.error(), (401, "invalid_client"));
    assert_eq!(contents(&mut client), before);
    let own = request(&mut client).post("revoke", &and(body, "client_id", "phone"));
    assert_eq!(own.status, 200);
    assert_ne!(contents(&mut client), before);
    // a session that is bound to nobody is ended by whoever holds its token
    let free = sign_in(&mut client, "");
    let body = json!({ "token": free.text("refresh_token"), "client_id": "phone" });
    assert_eq!(request(&mut client).post("revoke", &body).status, 200);
    let refused = request(&mut client).post("token", &refresh(free.text("refresh_token")));
    assert_eq!(refused.error(), (400, "invalid_grant"));
}

#[test]
fn introspection_is_for_those_who_have_shown_who_they_are() {
    let database = database();
    let mut client = database.connect();
    let login = sign_in(&mut client, ", scope => 'read'");
    let body = json!({ "token": login.text("refresh_token") });
    let before = contents(&mut client);
    let anybody = request(&mut client).post("introspect", &body);
    assert_eq!(anybody.error(), (401, "invalid_client"));
    // PostgREST sets these for a request without a token
    let claims = json!({ "role": "anon" });
    let anon = request(&mut client)
        .with("request.jwt.claims", claims)
        .post("introspect", &body);
    assert_eq!(anon.error(), (401, "invalid_client"));
    // a secret that nobody checks shows nothing
    let headers = basic("web", "s3%3Acret");
    let unchecked = request(&mut client)
        .headers(headers.clone())
        .post("introspect", &body);
    assert_eq!(unchecked.error(), (401, "invalid_client"));

    execute(&mut client, CLIENTS);
    let public = and(body.clone(), "client_id", "phone");
    let public = request(&mut client).post("introspect", &public);
    assert_eq!(public.error(), (401, "invalid_client"));
    let looked = request(&mut client)
        .headers(headers.clone())
        .post("introspect", &body);
    assert_eq!(looked.status, 200);
    assert!(is_not_cached(&looked));
    assert_eq!(looked.body["active"], true);
    assert_eq!(looked.text("token_type"), "refresh_token");
    assert_eq!(looked.text("sub"), "alice");
    let access = json!({ "token": login.text("access_token"), "token_type_hint": "access_token" });
    let looked = request(&mut client)
        .headers(headers.clone())
        .post("introspect", &access);
    assert_eq!(looked.text("token_type"), "Bearer");
    assert_eq!(looked.text("scope"), "read");
    assert_eq!(looked.body["exp"], login.claims()["exp"]);
    assert_eq!(contents(&mut client), before, "to look is not to touch");

    // tokens that are no more, or never were
    request(&mut client).post("revoke", &body);
    let mut tampered = login.text("access_token").to_owned();
    tampered.replace_range(tampered.len() - 1.., "");
    for token in [
        login.text("refresh_token"),
        login.text("access_token"),
        &tampered,
        "x",
        "a.b.c",
    ] {
        let body = json!({ "token": token });
        let looked = request(&mut client)
            .headers(headers.clone())
            .post("introspect", &body);
        assert_eq!(
            (looked.status, looked.body),
            (200, json!({ "active": false }))
        );
    }
}

#[test]
fn an_access_token_shows_its_own_users_tokens_alone() {
    let database = database();
    let mut client = database.connect();
    let alice = sign_in(&mut client, "");
    let sql = "SELECT auth.sign_in_response($1)::text";
    let bob = request(&mut client).run(sql, "bob");
    let ask = |client: &mut Client, asker: &Answer, token: &str| {
        let looked = request(client)
            .with("request.jwt.claims", Value::from(asker.claims()))
            .post("introspect", &json!({ "token": token }));
        assert_eq!(looked.status, 200);
        looked.body
    };
    let inactive = json!({ "active": false });
    for name in ["refresh_token", "access_token"] {
        assert_eq!(ask(&mut client, &bob, alice.text(name)), inactive, "{name}");
        assert_eq!(ask(&mut client, &alice, bob.text(name)), inactive, "{name}");
        assert_eq!(
            ask(&mut client, &bob, bob.text(name))["sub"],
            "bob",
            "{name}"
        );
        assert_eq!(
            ask(&mut client, &alice, alice.text(name))["active"],
            true,
            "{name}"
        );
    }
    // nor does one whose session has ended show anything
    request(&mut client).post("revoke", &json!({ "token": bob.text("refresh_token") }));
    let other = request(&mut client).run(sql, "bob");
    for claims in [
        Value::from(bob.claims()),
        json!({ "sub": "bob", "session_id": "x" }),
        json!({ "sub": ["bob"] }),
    ] {
        let refused = request(&mut client)
            .with("request.jwt.claims", &claims)
            .post(
                "introspect",
                &json!({ "token": other.text("refresh_token") }),
            );
        assert_eq!(refused.error(), (401, "invalid_client"), "{claims}");
    }
    // a client that has authenticated sees what it is asked about: resource servers have to
    execute(&mut client, CLIENTS);
    let looked = request(&mut client)
        .headers(basic("web", "s3%3Acret"))
        .post(
            "introspect",
            &json!({ "token": alice.text("refresh_token") }),
        );
    assert_eq!(looked.text("sub"), "alice");
}

/// A hook may accept whatever a public client sends along: it has shown nothing by that.
#[test]
fn a_secret_that_nobody_needs_shows_nothing() {
    let database = database();
    let mut client = database.connect();
    execute(
        &mut client,
        "CREATE SCHEMA app;
         CREATE FUNCTION app.authenticate(client_id text, client_secret text) RETURNS boolean LANGUAGE sql AS $$
             SELECT client_id = 'phone' OR client_id = 'web' AND client_secret IS NOT DISTINCT FROM 'secret'
         $$;
         SET refresh_tokens.client_authentication_hook = 'app.authenticate'",
    );
    let login = sign_in(&mut client, "");
    let body = json!({ "token": login.text("refresh_token") });
    for (id, secret, status) in [
        ("phone", "x", 401),
        ("phone", "", 401),
        ("web", "secret", 200),
    ] {
        let asked = request(&mut client)
            .headers(basic(id, secret))
            .post("introspect", &body);
        assert_eq!(asked.status, status, "{id} {secret}");
    }
    let named = and(and(body, "client_id", "phone"), "client_secret", "x");
    let asked = request(&mut client).post("introspect", &named);
    assert_eq!(asked.error(), (401, "invalid_client"));
}

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

// ---- headers -------------------------------------------------------------------------------------

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

// ---- keys ----------------------------------------------------------------------------------------

fn kids(client: &mut Client) -> Vec<String> {
    let sql = "SELECT key ->> 'kid' FROM jsonb_array_elements(auth.jwks() -> 'keys') AS key";
    let rows = client.query(sql, &[]).expect("the keys");
    rows.iter().map(|row| row.get(0)).collect()
}

fn rotate_key(client: &mut Client, arguments: &str) -> String {
    let sql = format!("SELECT auth.rotate_signing_key({arguments})::text");
    client.query_one(&sql, &[]).expect("a key").get(0)
}

fn header(token: &str) -> Value {
    let head = token.split('.').next().expect("three parts");
    let head = data_encoding::BASE64URL_NOPAD.decode(head.as_bytes());
    serde_json::from_slice(&head.expect("base64url")).expect("a JSON object")
}

fn is_active(client: &mut Client, token: &str) -> bool {
    let claims = json!({ "sub": "alice" });
    let request = request(client).with("request.jwt.claims", claims);
    request.post("introspect", &json!({ "token": token })).body["active"] == true
}

#[test]
fn the_newest_key_signs_and_the_ones_before_it_verify_for_a_day() {
    let database = Database::create();
    let mut client = database.connect();
    let mut logins = Vec::new();
    for alg in ["ES256", "EdDSA", "HS256", "ES256"] {
        let kid = rotate_key(&mut client, &format!("'{alg}'"));
        let login = sign_in(&mut client, "");
        let header = header(login.text("access_token"));
        // A secret has no name, for those who verify with it have it as a passphrase.
        let name = if alg == "HS256" {
            Value::Null
        } else {
            json!(kid)
        };
        assert_eq!((&header["alg"], &header["kid"]), (&json!(alg), &name));
        logins.push((kid, login.text("access_token").to_owned()));
    }
    // a secret is no public key
    let public = [&logins[3].0, &logins[1].0, &logins[0].0];
    assert_eq!(kids(&mut client).iter().collect::<Vec<_>>(), public);
    for (_, token) in &logins {
        assert!(is_active(&mut client, token));
    }
    // a day later the first three have nothing to verify any more
    execute(
        &mut client,
        "UPDATE auth.signing_keys SET active_at = active_at - interval '1 d'",
    );
    assert_eq!(kids(&mut client), [logins[3].0.clone()]);
    for (at, (_, token)) in logins.iter().enumerate() {
        assert_eq!(is_active(&mut client, token), at == 3, "{at}");
    }
    // and the next rotation takes them away
    rotate_key(&mut client, "");
    let row = client.query_one("SELECT count(*) FROM auth.signing_keys", &[]);
    assert_eq!(row.expect("a count").get::<_, i64>(0), 2);
}

#[test]
fn a_key_can_be_published_before_it_signs() {
    let database = database();
    let mut client = database.connect();
    let first = kids(&mut client).remove(0);
    let second = rotate_key(&mut client, "active_at => now() + interval '1 h'");
    assert_eq!(kids(&mut client), [second.clone(), first.clone()]);
    let signer = |client: &mut Client| {
        let login = sign_in(client, "");
        header(login.text("access_token"))["kid"]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(signer(&mut client), Some(first));
    execute(
        &mut client,
        "UPDATE auth.signing_keys SET active_at = active_at - interval '1 h'",
    );
    assert_eq!(signer(&mut client), Some(second));
    // a time that is past is now
    let third = rotate_key(&mut client, "active_at => '-infinity'");
    assert_eq!(signer(&mut client), Some(third.clone()));
    // of keys that sign from the same moment on, the one made last
    execute(
        &mut client,
        "UPDATE auth.signing_keys SET active_at = now()",
    );
    assert_eq!(signer(&mut client), Some(third));
}

#[test]
fn a_known_secret_signs_as_it_does_elsewhere() {
    let database = Database::create();
    let mut client = database.connect();
    let secret = "a secret of at least 32 bytes, as PostgREST has it";
    rotate_key(&mut client, &format!("'HS256', secret => '{secret}'"));
    let login = sign_in(&mut client, "");
    let (message, signature) = login
        .text("access_token")
        .rsplit_once('.')
        .expect("a signature");
    // openssl's words for it: HMAC by pgcrypto, an implementation that is not ours
    let sql = "SELECT rtrim(translate(encode(hmac($1, $2, 'sha256'), 'base64'), '+/', '-_'), '=')";
    execute(&mut client, "CREATE EXTENSION pgcrypto");
    let row = client.query_one(sql, &[&message, &secret]).expect("a MAC");
    assert_eq!(row.get::<_, String>(0), signature);
    assert_eq!(kids(&mut client), Vec::<String>::new());
}

#[test]
fn a_key_that_can_not_be_is_refused() {
    let database = Database::create();
    let mut client = database.connect();
    for arguments in [
        "NULL",
        "''",
        "'none'",
        "'RS256'",
        "'es256'",
        "'HS256', secret => ''",
        "'HS256', secret => 'too short for HMAC with SHA-256'",
        "'ES256', secret => 'a secret of at least 32 bytes, but for another algorithm'",
    ] {
        let sql = format!("SELECT auth.rotate_signing_key({arguments})");
        assert_eq!(
            error_code(client.query_one(&sql, &[])),
            "22023",
            "{arguments}"
        );
    }
    // without a key nothing is signed, and no refresh token is used up
    let sign_in = client.query_one("SELECT auth.sign_in_response('alice')", &[]);
    assert_eq!(error_code(sign_in), "55000");
    let row = client.query_one("SELECT count(*) FROM auth.sessions", &[]);
    assert_eq!(row.expect("a count").get::<_, i64>(0), 0);
    let row = client.query_one(
        "SELECT (auth.issue_refresh_token('alice')).refresh_token",
        &[],
    );
    let token: String = row.expect("a token").get(0);
    let body = refresh(&token).to_string();
    let call = "SELECT auth.token($1::text::jsonb)";
    assert_eq!(error_code(client.query_one(call, &[&body])), "55000");
    rotate_key(&mut client, "");
    assert_eq!(
        request(&mut client).post("token", &refresh(&token)).status,
        200
    );
}

#[test]
fn a_row_that_holds_no_key_is_named_as_the_cause() {
    let database = database();
    let mut client = database.connect();
    for (alg, private_key) in [
        ("RS256", "AAAA"),
        ("ES256", "***"),
        ("ES256", "AAAA"),
        ("HS256", "AAAA"),
        ("EdDSA", ""),
    ] {
        execute(
            &mut client,
            &format!(
                "INSERT INTO auth.signing_keys VALUES (gen_random_uuid(), '{alg}', '{private_key}', now(), now())"
            ),
        );
        let refused = client.query_one("SELECT auth.sign_in_response('alice')", &[]);
        assert_eq!(error_code(refused), "55000", "{alg} {private_key}");
        execute(
            &mut client,
            &format!("DELETE FROM auth.signing_keys WHERE private_key = '{private_key}'"),
        );
    }
    sign_in(&mut client, "");
}

/// Whoever has a dump could be anybody if it held the keys.
#[test]
fn a_dump_has_no_signing_key() {
    let database = database();
    let mut client = database.connect();
    let row = client.query_one("SELECT private_key FROM auth.signing_keys", &[]);
    let key: String = row.expect("a key").get(0);
    let dump = database.cluster().run("pg_dump", &["-d", &database.name]);
    assert!(dump.contains("COPY auth.sessions"));
    assert!(!dump.contains(&key) && !dump.contains("COPY auth.signing_keys"));
}

//! The endpoints as PostgREST calls them: what commits, what a wish to roll back undoes, which bodies are
//! understood, and what a hostile request comes to.

use refresh_tokens_tests::postgrest::application::{
    Application, log_in, notes, refresh, refusal, text,
};
use refresh_tokens_tests::postgrest::{Request, Response, Served};
use refresh_tokens_tests::{Database, assert_invariants, wait_until};
use serde_json::{Value, json};

const INVALID_GRANT: &str = "invalid_grant";

/// The application, served, and somebody logged in.
struct Scene {
    application: Application,
    served: Served,
    answer: Value,
}

impl Scene {
    fn start() -> Self {
        Self::of(Application::create("ES256"))
    }

    fn of(application: Application) -> Self {
        let served = application.serve();
        let answer = served.answer(&log_in("alice", None));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        Self {
            application,
            served,
            answer,
        }
    }

    fn answer(&self, request: &Request) -> Response {
        self.served.answer(request)
    }

    fn token(&self) -> String {
        text(&self.answer, "refresh_token")
    }

    fn access_token(&self) -> String {
        text(&self.answer, "access_token")
    }

    /// A refresh that succeeds.
    fn refresh(&self, token: &str) -> Value {
        let response = self.answer(&refresh(token));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    fn count(&self, sql: &str) -> i64 {
        let row = self
            .application
            .owner()
            .query_one(&format!("SELECT count(*) FROM {sql}"), &[]);
        row.expect("a number").get(0)
    }

    /// All that happened lies a minute further back: too long ago for an honest retry.
    fn let_a_minute_pass(&self) {
        let sql = "
            UPDATE auth.sessions SET created_at = created_at - interval '1 min', updated_at = updated_at - interval '1 min',
                                     refreshed_at = refreshed_at - interval '1 min';
            UPDATE auth.refresh_tokens SET created_at = created_at - interval '1 min', updated_at = updated_at - interval '1 min'";
        self.application
            .owner()
            .batch_execute(sql)
            .expect("an owner");
    }
}

fn is_not_for_a_cache(response: &Response) -> bool {
    response.header("cache-control") == Some("no-store")
        && response.header("pragma") == Some("no-cache")
}

#[test]
fn a_refresh_swaps_the_token_and_a_retry_gets_the_same_again() {
    let scene = Scene::start();
    let response = scene.answer(&refresh(&scene.token()));
    assert!(is_not_for_a_cache(&response));
    let second = response.json();
    assert_ne!(text(&second, "refresh_token"), scene.token());
    assert_eq!(
        scene.refresh(&scene.token())["refresh_token"],
        second["refresh_token"]
    );
    let read = scene.answer(&notes(&text(&second, "access_token")));
    assert_eq!(read.json(), json!([{"owner": "alice", "note": "hers"}]));
    assert_invariants(&mut scene.application.owner());
}

/// The answer is a 400, and what it is about is done all the same.
#[test]
fn reuse_ends_the_session_although_the_answer_is_a_refusal() {
    let scene = Scene::start();
    let second = scene.refresh(&scene.token());
    let access_token = text(&second, "access_token");
    assert_eq!(scene.answer(&notes(&access_token)).status, 200);
    scene.let_a_minute_pass();
    let response = scene.answer(&refresh(&scene.token()));
    assert_eq!(refusal(&response), (400, INVALID_GRANT.to_owned()));
    assert!(is_not_for_a_cache(&response));
    let last = scene.answer(&refresh(&text(&second, "refresh_token")));
    assert_eq!(refusal(&last), (400, INVALID_GRANT.to_owned()));
    assert_eq!(
        scene.count("auth.refresh_token_events WHERE event = 'reuse_detected'"),
        1
    );
    let response = scene.answer(&notes(&access_token));
    assert_eq!(response.status, 401);
    assert!(
        response
            .header("www-authenticate")
            .is_some_and(|value| value.starts_with("Bearer"))
    );
    assert_invariants(&mut scene.application.owner());
}

/// Where a client may roll back its request, a thief does not take back what its reuse brought about.
#[test]
fn a_wish_to_roll_back_does_not_undo_the_verdict() {
    let mut application = Application::create_in(Database::create_alone(), "ES256");
    application.config = application
        .config
        .with("db-tx-end", "commit-allow-override");
    let scene = Scene::of(application);
    let second = scene.refresh(&scene.token());
    scene.let_a_minute_pass();
    let before = scene.count("auth.refresh_token_events");
    let request = refresh(&scene.token()).header("Prefer", "tx=rollback");
    assert_eq!(
        refusal(&scene.answer(&request)),
        (400, INVALID_GRANT.to_owned())
    );
    wait_until("the family ends", || {
        scene.count("auth.refresh_tokens WHERE NOT revoked") == 0
    });
    assert_eq!(scene.count("auth.refresh_token_events"), before + 1);
    let notes = notes(&text(&second, "access_token"));
    assert_eq!(scene.answer(&notes).status, 401);
    assert_invariants(&mut scene.application.owner());
}

/// A query string acts on the answer, in the transaction of the call: the cast fails, and undoes all but the verdict.
#[test]
fn a_cast_of_the_answer_does_not_undo_the_verdict() {
    let scene = Scene::of(Application::create_in(Database::create_alone(), "ES256"));
    scene.refresh(&scene.token());
    scene.let_a_minute_pass();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &scene.token()),
    ];
    let request = Request::post("/rpc/token?select=pgrst_scalar::int").form(&form);
    let response = scene.answer(&request);
    assert_eq!(
        (response.status, response.json()["code"].as_str()),
        (400, Some("22023"))
    );
    wait_until("the family ends", || {
        scene.count("auth.refresh_tokens WHERE NOT revoked") == 0
    });
    assert_eq!(
        scene.count("auth.refresh_token_events WHERE event = 'reuse_detected'"),
        1
    );
    assert_invariants(&mut scene.application.owner());
}

#[test]
fn a_rotation_that_is_rolled_back_has_not_happened() {
    let mut application = Application::create("ES256");
    application.config = application
        .config
        .with("db-tx-end", "commit-allow-override");
    let scene = Scene::of(application);
    let undone = scene.answer(&refresh(&scene.token()).header("Prefer", "tx=rollback"));
    assert_eq!(undone.status, 200);
    let undone = text(&undone.json(), "refresh_token");
    assert_eq!(
        refusal(&scene.answer(&refresh(&undone))),
        (400, INVALID_GRANT.to_owned())
    );
    scene.refresh(&scene.token());
    assert_invariants(&mut scene.application.owner());
}

#[test]
fn what_writes_is_refused_to_a_get() {
    let scene = Scene::start();
    let token = scene.token();
    for request in [
        format!("/rpc/token?grant_type=refresh_token&refresh_token={token}"),
        format!("/rpc/revoke?token={token}"),
        format!("/rpc/introspect?token={token}"),
        "/rpc/token".to_owned(),
    ] {
        let response = scene.answer(&Request::get(&request));
        assert_eq!(
            (response.status, response.json()["code"].as_str()),
            (405, Some("25006")),
            "{request}"
        );
    }
    assert_eq!(scene.answer(&Request::get("/rpc/jwks")).status, 200);
    scene.refresh(&token);
}

/// A token belongs into the body, and nowhere else.
#[test]
fn a_token_in_the_query_of_a_post_is_not_looked_at() {
    let scene = Scene::start();
    let target = format!("/rpc/token?refresh_token={}", scene.token());
    let response = scene.answer(&Request::post(&target).form(&[("grant_type", "refresh_token")]));
    assert_eq!(refusal(&response), (400, "invalid_request".to_owned()));
    scene.refresh(&scene.token());
}

#[test]
fn a_parameter_that_nobody_knows_is_ignored_in_json_and_not_found_in_a_form() {
    let scene = Scene::start();
    let token = scene.token();
    let known = [
        ("grant_type", "refresh_token"),
        ("resource", "https://api.example"),
        ("audience", "x"),
    ];
    let form = [&known[..], &[("refresh_token", &token)]].concat();
    assert_eq!(
        scene
            .answer(&Request::post("/rpc/token").form(&form))
            .status,
        200,
        "registered ones are ignored"
    );
    let unknown = [&form[..], &[("device", "x")]].concat();
    let response = scene.answer(&Request::post("/rpc/token").form(&unknown));
    assert_eq!(
        (response.status, response.json()["code"].as_str()),
        (404, Some("PGRST202"))
    );
    let mut body = json!({"grant_type": "refresh_token", "refresh_token": scene.token()});
    assert_eq!(
        scene
            .answer(&Request::post("/rpc/token").json(&body))
            .status,
        200
    );
    body["device"] = json!({"any": ["thing"]});
    assert_eq!(
        scene
            .answer(&Request::post("/rpc/token").json(&body))
            .status,
        200
    );
    for path in ["/rpc/revoke", "/rpc/introspect"] {
        let form = Request::post(path).form(&[("token", "x"), ("device", "x")]);
        assert_eq!(scene.answer(&form).status, 404, "{path}");
        let body = Request::post(path).json(&json!({"token": "x", "device": "x"}));
        assert_ne!(scene.answer(&body).status, 404, "{path}");
    }
}

#[test]
fn a_body_that_is_not_understood_is_a_refusal_and_uses_nothing_up() {
    let scene = Scene::start();
    let token = scene.token();
    let send = |content_type: &str, body: &str| {
        scene.answer(&Request::post("/rpc/token").body(content_type, body))
    };
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let json = json!({"grant_type": "refresh_token", "refresh_token": token}).to_string();
    // PostgREST's own refusals.
    for (content_type, body) in [
        ("multipart/form-data", form.as_str()),
        ("application/jwt", &json),
        ("application/json", &form),
        ("application/json", &json[1..]),
        ("application/json", r#"["grant_type"]"#),
    ] {
        let response = send(content_type, body);
        assert_eq!(
            (response.status, response.json()["code"].as_str()),
            (400, Some("PGRST102")),
            "{content_type} {body}"
        );
    }
    // Bodies that come to nothing: the endpoint misses what they should hold.
    for (content_type, body) in [
        ("text/plain", form.as_str()),
        ("application/octet-stream", &json),
        ("application/json", ""),
        ("application/json", "[]"),
        ("application/json", "7"),
        ("application/json", "{}"),
        ("application/x-www-form-urlencoded", ""),
        (
            "application/x-www-form-urlencoded",
            "grant_type=refresh_token",
        ),
        (
            "application/x-www-form-urlencoded",
            "grant_type=refresh_token&refresh_token=",
        ),
        (
            "application/json",
            r#"{"grant_type": "refresh_token", "refresh_token": null}"#,
        ),
    ] {
        assert_eq!(
            refusal(&send(content_type, body)),
            (400, "invalid_request".to_owned()),
            "{content_type} {body}"
        );
    }
    // Something else than a text becomes its text, or is refused.
    for value in [
        json!([token]),
        json!({"token": token}),
        json!(1),
        json!(true),
    ] {
        for more in [json!({}), json!({"unknown": 1})] {
            let mut body = json!({"grant_type": "refresh_token", "refresh_token": value});
            body.as_object_mut()
                .expect("an object")
                .extend(more.as_object().cloned().expect("an object"));
            let response = scene.answer(&Request::post("/rpc/token").json(&body));
            let (status, error) = refusal(&response);
            assert_eq!(status, 400, "{body}");
            assert!(
                ["invalid_request", INVALID_GRANT].contains(&error.as_str()),
                "{body}: {error}"
            );
        }
    }
    scene.refresh(&token);
}

#[test]
fn values_of_any_size_are_refused_and_not_an_error() {
    let scene = Scene::start();
    let large = "x".repeat(1 << 20);
    let token = scene.token();
    for (name, expected) in [
        ("refresh_token", 400),
        ("scope", 400),
        ("grant_type", 400),
        ("client_id", 401),
    ] {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token.as_str()),
        ];
        fields.retain(|(field, _)| *field != name);
        fields.push((name, &large));
        let response = scene.answer(&Request::post("/rpc/token").form(&fields));
        assert_eq!(refusal(&response).0, expected, "{name}");
        let body: serde_json::Map<String, Value> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let response = scene.answer(&Request::post("/rpc/token").json(&Value::Object(body)));
        assert_eq!(refusal(&response).0, expected, "{name}");
    }
    scene.refresh(&token);
}

/// No PostgREST sends such headers; another gateway may.
#[test]
fn headers_that_are_not_what_they_should_be_are_taken_for_absent() {
    let scene = Scene::start();
    if scene.served.is_real() {
        return;
    }
    let deep = "[".repeat(100_000);
    let large = json!({"user-agent": "x".repeat(1 << 20)}).to_string();
    let mut token = scene.token();
    for headers in [
        "",
        "null",
        "7",
        "[]",
        "no JSON",
        r#"{"user-agent": 7, "x-forwarded-for": {}}"#,
        r#"{"user-agent": "\u0000", "x-forwarded-for": "\u0000"}"#,
        r#"{"user-agent": "a", "user-agent": "b"}"#,
        &deep,
        &large,
    ] {
        let response = scene.answer(&refresh(&token).forge_headers(headers));
        assert_eq!(
            response.status,
            200,
            "{} {}",
            response.text(),
            &headers[..headers.len().min(100)]
        );
        token = text(&response.json(), "refresh_token");
        let revoked = Request::post("/rpc/revoke")
            .form(&[("token", "x")])
            .forge_headers(headers);
        assert_eq!(scene.answer(&revoked).status, 200);
        assert_eq!(
            scene
                .answer(&log_in("bob", None).forge_headers(headers))
                .status,
            200
        );
    }
    let basic = |value: &str| {
        let headers = json!({"authorization": value}).to_string();
        refusal(&scene.answer(&refresh(&token).forge_headers(&headers)))
    };
    for value in [
        "Basic",
        "Basic ",
        "Basic !",
        "Basic eA==",
        "Basic /w==",
        "Basic Ojo=",
        &format!("Basic {}", "A".repeat(1 << 16)),
    ] {
        let (status, error) = basic(value);
        assert!(
            (status == 401 && error == "invalid_client") || (status == 200 && error.is_empty()),
            "{status} {error} {}",
            &value[..value.len().min(30)]
        );
    }
}

#[test]
fn an_address_is_believed_from_as_many_proxies_as_are_trusted() {
    let scene = Scene::start();
    let seen = |trusted: u8, headers: &[(&str, &str)]| -> Option<String> {
        let mut owner = scene.application.owner();
        let sql = format!(
            "ALTER DATABASE {} SET refresh_tokens.trusted_proxies = {trusted}",
            scene.application.database.name
        );
        owner.batch_execute(&sql).expect("a setting");
        // On connections that know it.
        let served = scene.application.serve();
        let request = headers
            .iter()
            .fold(log_in("carol", None), |request, (name, value)| {
                request.header(name, value)
            });
        assert_eq!(served.answer(&request).status, 200);
        let sql = "SELECT ip::text FROM auth.sessions WHERE user_id = 'carol' ORDER BY created_at DESC LIMIT 1";
        owner.query_one(sql, &[]).expect("a session").get(0)
    };
    let forged = ("X-Forwarded-For", "6.6.6.6, 192.0.2.7, 198.51.100.1");
    assert_eq!(seen(0, &[forged]), None);
    assert_eq!(seen(1, &[forged]).as_deref(), Some("198.51.100.1/32"));
    assert_eq!(seen(2, &[forged]).as_deref(), Some("192.0.2.7/32"));
    assert_eq!(seen(9, &[forged]), None);
    assert_eq!(seen(1, &[]), None);
    assert_eq!(seen(1, &[("X-Forwarded-For", "'; DROP TABLE")]), None);
    // What a client sends in a header of its own is not in what PostgREST hands on, nor what the proxy added to.
    assert_eq!(
        seen(
            1,
            &[
                ("X-Forwarded-For", "6.6.6.6"),
                ("x-forwarded-for", "192.0.2.9")
            ]
        )
        .as_deref(),
        Some("192.0.2.9/32")
    );
}

#[test]
fn the_end_of_a_session_is_the_end_of_its_access_token() {
    let scene = Scene::start();
    assert_eq!(scene.answer(&notes(&scene.access_token())).status, 200);
    let response = scene.answer(&Request::post("/rpc/revoke").form(&[("token", &scene.token())]));
    assert_eq!((response.status, response.json()), (200, json!({})));
    let response = scene.answer(&notes(&scene.access_token()));
    assert_eq!(response.status, 401);
    // Another session of hers goes on.
    let other = scene.answer(&log_in("alice", None)).json();
    assert_eq!(
        scene.answer(&notes(&text(&other, "access_token"))).status,
        200
    );
}

/// A new key signs at once, and what the one before it has signed is still good.
#[test]
fn a_new_key_signs_and_the_old_one_still_verifies() {
    let scene = Scene::start();
    let mut owner = scene.application.owner();
    refresh_tokens_tests::postgrest::application::rotate_signing_key(&mut owner, "EdDSA");
    let second = scene.refresh(&scene.token());
    let second = text(&second, "access_token");
    let good = |token: &str| scene.answer(&notes(token)).status == 200;
    scene.served.reload(&mut owner, || good(&second));
    assert!(good(&second));
    assert!(good(&scene.access_token()));
    owner
        .batch_execute("DELETE FROM auth.signing_keys WHERE alg = 'ES256'")
        .expect("an owner");
    scene
        .served
        .reload(&mut owner, || !good(&scene.access_token()));
    wait_until("the key is gone", || !good(&scene.access_token()));
    assert!(good(&second));
}

/// PostgREST 13 refuses a token that names a key which its `jwt-secret` doesn't: a passphrase has no name.
#[test]
fn a_secret_for_hs256_may_be_postgrests_passphrase() {
    const PASSPHRASE: &str = "as long as the hash, or else it would be refused";
    let mut application = Application::create("ES256");
    let mut owner = application.owner();
    owner
        .batch_execute("DELETE FROM auth.signing_keys")
        .and_then(|()| {
            let sql = "SELECT auth.rotate_signing_key('HS256', secret => $1)";
            owner.query_one(sql, &[&PASSPHRASE])
        })
        .expect("a key");
    application.config = application
        .config
        .with("db-pre-config", "")
        .with("jwt-secret", PASSPHRASE);
    let scene = Scene::of(application);
    let second = scene.refresh(&scene.token());
    let access_token = text(&second, "access_token");
    assert_eq!(scene.answer(&notes(&access_token)).status, 200);
    let introspection = Request::post("/rpc/introspect").form(&[("token", &access_token)]);
    let introspection = scene.answer(&introspection.bearer(&access_token)).json();
    assert_eq!(introspection["active"], true, "{introspection}");
    assert_eq!(
        scene.answer(&Request::get("/rpc/jwks")).json(),
        json!({"keys": []})
    );
}

//! The bridge is the model over HTTP, and nothing more: what it answers is what the model answers.

use refresh_tokens_tests::postgrest::application::{Application, log_in, notes, text};
use refresh_tokens_tests::postgrest::{PostgRest, Program, Request};
use serde_json::{Value, json};
use std::path::Path;

fn bridge(application: &Application) -> Program {
    let program = Path::new(env!("CARGO_BIN_EXE_postgrest_bridge"));
    Program::bridge(program, application.config.clone())
}

#[test]
fn an_answer_over_http_is_the_models_answer() {
    let application = Application::create("ES256");
    let (bridge, model) = (
        bridge(&application),
        PostgRest::new(application.config.clone()),
    );
    let logged_in = bridge.answer(&log_in("alice", None)).json();
    for request in [
        notes(&text(&logged_in, "access_token")),
        notes("x.y.z"),
        Request::get("/rpc/jwks"),
        Request::with_method("HEAD", "/rpc/jwks"),
        Request::get("/rpc/token?grant_type=refresh_token&refresh_token=%2Bx"),
        Request::post("/rpc/token").form(&[("grant_type", "password"), ("scope", "a b&c=d")]),
        Request::post("/rpc/token")
            .json(&json!({"grant_type": "refresh_token", "refresh_token": "ü"})),
        Request::post("/rpc/token").body("multipart/form-data; boundary=x", "--x"),
        Request::post("/rpc/revoke")
            .form(&[("token", "x")])
            .basic("special", "s3cret: +/%&=?;é"),
        Request::post("/rpc/revoke")
            .form(&[("token", "x")])
            .basic("special", "wrong"),
        Request::get("/nobody"),
        Request::with_method("DELETE", "/rpc/token"),
    ] {
        let (over_http, modelled) = (bridge.answer(&request), model.answer(&request));
        assert_eq!(over_http.status, modelled.status, "{request:?}");
        assert_eq!(over_http.text(), modelled.text(), "{request:?}");
        for (name, value) in &modelled.headers {
            assert_eq!(over_http.header(name), Some(value.as_str()), "{request:?}");
        }
    }
}

#[test]
fn a_database_sees_the_headers_that_were_sent() {
    let application = Application::create("ES256");
    let sql = "CREATE FUNCTION api.headers() RETURNS json LANGUAGE sql STABLE AS
               'SELECT current_setting(''request.headers'')::json'";
    application.owner().batch_execute(sql).expect("a function");
    let request = Request::get("/rpc/headers").header("Accept-Profile", "api");
    let seen = bridge(&application)
        .answer(&request.header("X-Odd", "a \"b\" \\ ü"))
        .json();
    assert_eq!(seen["x-odd"], "a \"b\" \\ ü");
    assert_eq!(seen["accept-profile"], "api");
}

#[test]
fn a_header_of_more_than_fifty_kilobytes_never_reaches_the_database() {
    let application = Application::create("ES256");
    let bridge = bridge(&application);
    let status = |length: usize| {
        let request = Request::get("/rpc/jwks").header("X-Long", &"x".repeat(length));
        bridge.answer(&request).status
    };
    assert_eq!(status(40 * 1024), 200);
    assert_eq!(status(1 << 20), 431);
}

#[test]
fn many_at_once() {
    let application = Application::create("EdDSA");
    let bridge = bridge(&application);
    let token = text(
        &bridge.answer(&log_in("alice", None)).json(),
        "refresh_token",
    );
    let body = json!({"grant_type": "refresh_token", "refresh_token": token});
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let ask = || {
            bridge
                .answer(&Request::post("/rpc/token").json(&body))
                .json()
        };
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    });
    for answer in &answers {
        assert_eq!(
            answer["refresh_token"], answers[0]["refresh_token"],
            "one child"
        );
        assert_ne!(text(answer, "refresh_token"), token);
    }
}

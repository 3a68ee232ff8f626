//! Requests and the answers to them.

use super::answer::{Answer, Refusal};
use super::headers::Headers;
use super::request::Request;
use crate::label::Label;
use serde_json::{Value, json};

fn request(body: Value) -> Request {
    Request::parse(&body.to_string()).unwrap_or_else(|_| panic!("{body}"))
}

fn headers(fields: Value) -> Headers {
    Headers::parse(&fields.to_string())
}

#[test]
fn unknown_parameters_are_ignored() {
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let body = format!(
        r#"{{"grant_type": "refresh_token", "refresh_token": "t", "x": 1e400, "y": {deep}, "z": null}}"#
    );
    let request = Request::parse(&body).ok();
    let request = request.expect("what is not known is not looked at");
    assert_eq!(request.refresh(), Ok(("t", None)));
}

#[test]
fn a_body_is_an_object_of_strings() {
    for body in [
        "",
        "null",
        "7",
        "\"x\"",
        "[]",
        r#"["refresh_token"]"#,
        "{",
        r#"{"scope": 7}"#,
        r#"{"scope": ["a"]}"#,
        r#"{"scope": {}}"#,
        r#"{"scope": true}"#,
        r#"{"scope": 1e400}"#,
        r#"{"scope": "a", "scope": "b"}"#,
        &"[".repeat(100_000),
    ] {
        let refusal = Request::parse(body).err().map(Refusal::label);
        assert_eq!(refusal, Some("invalid_request"), "{body}");
    }
}

#[test]
fn a_parameter_without_a_value_is_absent() {
    let missing = |body: Value| request(body).refresh().err().map(Refusal::label);
    for body in [
        json!({}),
        json!({ "grant_type": "", "refresh_token": "t" }),
        json!({ "grant_type": null, "refresh_token": "t" }),
        json!({ "grant_type": "refresh_token" }),
        json!({ "grant_type": "refresh_token", "refresh_token": "" }),
    ] {
        assert_eq!(missing(body), Some("invalid_request"));
    }
    let other = json!({ "grant_type": "password", "refresh_token": "t" });
    assert_eq!(missing(other), Some("unsupported_grant_type"));
    let wrong = json!({ "grant_type": "refresh_token", "refresh_token": "t", "scope": "a  b" });
    assert_eq!(missing(wrong), Some("invalid_scope"));
    let none = json!({ "grant_type": "refresh_token", "refresh_token": "t", "scope": "" });
    assert_eq!(request(none).refresh(), Ok(("t", None)));
}

#[test]
fn a_client_says_who_it_is_in_one_way() {
    // app:secret
    let basic = json!({ "authorization": "Basic YXBwOnNlY3JldA==" });
    let client = |body: Value, fields: &Value| {
        let client = request(body).client(&headers(fields.clone()))?;
        Ok::<_, Refusal>((client.id, client.secret.map(|secret| secret.to_string())))
    };
    let is = |id: Option<&str>, secret: Option<&str>| {
        Ok((id.map(str::to_owned), secret.map(str::to_owned)))
    };
    let none = json!({});
    assert_eq!(client(json!({}), &none), is(None, None));
    assert_eq!(
        client(json!({ "client_id": "app" }), &none),
        is(Some("app"), None)
    );
    let post = json!({ "client_id": "app", "client_secret": "secret" });
    assert_eq!(client(post.clone(), &none), is(Some("app"), Some("secret")));
    assert_eq!(client(json!({}), &basic), is(Some("app"), Some("secret")));
    let named = json!({ "client_id": "app" });
    assert_eq!(client(named, &basic), is(Some("app"), Some("secret")));

    let code = |body: Value, fields: &Value| client(body, fields).err().map(Refusal::label);
    assert_eq!(code(post, &basic), Some("invalid_request"));
    assert_eq!(
        code(json!({ "client_id": "other" }), &basic),
        Some("invalid_request")
    );
    assert_eq!(
        code(json!({ "client_secret": "x" }), &none),
        Some("invalid_request")
    );
    assert_eq!(
        code(json!({ "client_assertion": "x" }), &none),
        Some("invalid_client")
    );
    let malformed = json!({ "authorization": "Basic x" });
    assert_eq!(code(json!({}), &malformed), Some("invalid_client"));
}

#[test]
fn a_refusal_is_an_answer() {
    let answer = Answer::from(Refusal::InvalidGrant);
    assert_eq!(answer.status, Some(400));
    assert_eq!(answer.body["error"], "invalid_grant");
    assert_eq!(answer.headers().len(), 2);
    let answer = Answer::from(Refusal::InvalidClient);
    assert_eq!(answer.status, Some(401));
    let challenge = json!({ "WWW-Authenticate": "Basic realm=\"token\"" });
    assert_eq!(answer.headers()[2], challenge);
}

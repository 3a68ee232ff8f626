//! The introspection endpoint: RFC 7662.

use super::request::{
    Answer, CLIENTS, and, basic, database, execute, is_not_cached, request, sign_in,
};
use postgres::Client;
use refresh_tokens_tests::contents;
use serde_json::{Value, json};

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

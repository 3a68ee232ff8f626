//! The revocation endpoint: RFC 7009.

use super::request::{
    CLIENTS, and, basic, database, execute, is_not_cached, refresh, request, rotate_key, sign,
    sign_in,
};
use postgres::Client;
use refresh_tokens_tests::contents;
use refresh_tokens_tests::format::unknown_token;
use serde_json::json;

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

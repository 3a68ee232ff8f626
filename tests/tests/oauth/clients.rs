//! How clients of the token endpoint show who they are.

use super::request::{Answer, CLIENTS, and, basic, database, execute, refresh, request, sign_in};
use serde_json::json;

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

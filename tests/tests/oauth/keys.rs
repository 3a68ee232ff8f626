//! The keys that sign access tokens.

use super::request::{database, execute, refresh, request, rotate_key, sign_in};
use postgres::Client;
use refresh_tokens_tests::{Database, error_code};
use serde_json::{Value, json};

fn kids(client: &mut Client) -> Vec<String> {
    let sql = "SELECT key ->> 'kid' FROM jsonb_array_elements(auth.jwks() -> 'keys') AS key";
    let rows = client.query(sql, &[]).expect("the keys");
    rows.iter().map(|row| row.get(0)).collect()
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

/// Whoever has a dump could impersonate any user if it held the keys.
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

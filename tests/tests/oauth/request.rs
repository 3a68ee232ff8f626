//! A request, as the tests of the endpoints make it: a transaction stands for one. How PostgREST calls the endpoints is
//! tested in the modules `postgrest_*`.

use postgres::{Client, Transaction};
use refresh_tokens_tests::Database;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A database with a key to sign with.
pub(super) fn database() -> Database {
    let database = Database::create();
    execute(&mut database.connect(), "SELECT auth.rotate_signing_key()");
    database
}

pub(super) fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.200}\n{done:?}");
}

/// What came of a request: the status, the headers and the body.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<Value>,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn text(&self, name: &str) -> &str {
        let value = self.body[name].as_str();
        value.unwrap_or_else(|| panic!("no {name} in {:?}", self.body))
    }

    pub(super) fn error(&self) -> (u16, &str) {
        (self.status, self.text("error"))
    }

    pub(super) fn claims(&self) -> Map<String, Value> {
        claims(self.text("access_token"))
    }

    pub(super) fn session(&self) -> Uuid {
        let id = self.claims()["session_id"].as_str().map(str::to_owned);
        id.expect("a session").parse().expect("a UUID")
    }
}

/// The claims of a token, which nothing has verified.
pub(super) fn claims(token: &str) -> Map<String, Value> {
    let body = token.split('.').nth(1).expect("three parts");
    let body = data_encoding::BASE64URL_NOPAD.decode(body.as_bytes());
    serde_json::from_slice(&body.expect("base64url")).expect("a JSON object")
}

/// One request: `function` of the schema `auth` is called with `body`, as one committed transaction.
pub(super) struct Request<'a> {
    pub(super) client: &'a mut Client,
    pub(super) settings: Vec<(&'static str, String)>,
}

pub(super) fn request(client: &mut Client) -> Request<'_> {
    Request {
        client,
        settings: Vec::new(),
    }
}

impl Request<'_> {
    pub(super) fn with(mut self, setting: &'static str, value: impl ToString) -> Self {
        self.settings.push((setting, value.to_string()));
        self
    }

    pub(super) fn headers(self, headers: Value) -> Self {
        self.with("request.headers", headers)
    }

    pub(super) fn post(self, function: &str, body: &Value) -> Answer {
        let sql = format!("SELECT auth.{function}($1::text::jsonb)::text");
        self.run(&sql, &body.to_string())
    }

    /// Runs a statement with one parameter that answers with JSON.
    pub(super) fn run(self, sql: &str, parameter: &str) -> Answer {
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

pub(super) fn setting(transaction: &mut Transaction<'_>, name: &str) -> Option<String> {
    let sql = "SELECT nullif(current_setting($1, true), '')";
    let row = transaction.query_one(sql, &[&name]);
    row.expect("a setting").get(0)
}

pub(super) fn sign_in(client: &mut Client, arguments: &str) -> Answer {
    let sql = format!("SELECT auth.sign_in_response($1{arguments})::text");
    request(client).run(&sql, "alice")
}

pub(super) fn refresh(token: &str) -> Value {
    json!({ "grant_type": "refresh_token", "refresh_token": token })
}

/// `body` with one more member.
pub(super) fn and(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

pub(super) fn is_not_cached(answer: &Answer) -> bool {
    answer
        .headers
        .contains(&json!({ "Cache-Control": "no-store" }))
        && answer.headers.contains(&json!({ "Pragma": "no-cache" }))
}

pub(super) const CLIENTS: &str = "
    CREATE SCHEMA app;
    CREATE FUNCTION app.authenticate(client_id text, client_secret text) RETURNS boolean
    LANGUAGE sql AS $$
        SELECT CASE client_id WHEN 'web' THEN coalesce(client_secret = 's3:cret', false)
                              WHEN 'phone' THEN client_secret IS NULL
                              ELSE NULL END
    $$;
    SET refresh_tokens.client_authentication_hook = 'app.authenticate'";

pub(super) fn basic(client_id: &str, secret: &str) -> Value {
    let credentials = format!("{client_id}:{secret}");
    let credentials = data_encoding::BASE64.encode(credentials.as_bytes());
    json!({ "authorization": format!("Basic {credentials}") })
}

/// A token that whoever shares the secret of HS256 may have signed.
pub(super) fn sign(secret: &str, claims: &Value) -> String {
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

pub(super) fn rotate_key(client: &mut Client, arguments: &str) -> String {
    let sql = format!("SELECT auth.rotate_signing_key({arguments})::text");
    client.query_one(&sql, &[]).expect("a key").get(0)
}

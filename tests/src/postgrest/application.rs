//! An application behind PostgREST, of the least possible size: anybody may log in as anybody.

use super::{Config, Request, Response, Served};
use crate::Database;
use postgres::Client;
use serde_json::{Value, json};

/// The issuer of its access tokens.
pub const ISSUER: &str = "https://notes.example";
/// The audience of its access tokens.
pub const AUDIENCE: &str = "notes";
/// The secret of its client `confidential`, which is the same in every encoding.
pub const PLAIN_SECRET: &str = "dGhlIHNlY3JldC1vZi1hLWNsaWVudA";
/// The secret of its client `special`: characters that some encoding changes.
pub const SPECIAL_SECRET: &str = "s3cret: +/%&=?;é";

const SQL: &str = r"
    CREATE ROLE {anon} NOLOGIN; CREATE ROLE {user} NOLOGIN;
    CREATE ROLE {authenticator} LOGIN NOINHERIT; GRANT {anon}, {user} TO {authenticator};
    SELECT auth.grant_refresh_token_role('{anon}', 'gateway'), auth.grant_refresh_token_role('{user}', 'gateway');

    CREATE SCHEMA api;
    GRANT USAGE ON SCHEMA api TO {anon}, {user}, {authenticator};
    CREATE TABLE api.notes (owner text NOT NULL, note text NOT NULL);
    INSERT INTO api.notes VALUES ('alice', 'hers'), ('bob', 'his');
    ALTER TABLE api.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON api.notes USING (owner = current_setting('request.jwt.claims')::json ->> 'sub');
    GRANT SELECT ON api.notes TO {user};

    CREATE FUNCTION api.log_in(user_id text, client_id text, scope text) RETURNS jsonb
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
        'SELECT auth.sign_in_response(user_id, client_id, scope)';

    CREATE FUNCTION api.authenticate(client_id text, client_secret text) RETURNS boolean
    LANGUAGE sql STABLE AS $$
        SELECT CASE client_id WHEN 'confidential' THEN client_secret IS NOT DISTINCT FROM '{plain}'
                              WHEN 'special' THEN client_secret IS NOT DISTINCT FROM '{special}'
                              WHEN 'public' THEN client_secret IS NULL
                              ELSE false END $$;

    CREATE FUNCTION api.pre_config() RETURNS void
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
        $$SELECT set_config('pgrst.jwt_secret', auth.jwks()::text, true)$$;

    ALTER DATABASE {database} SET refresh_tokens.access_token_issuer = '{issuer}';
    ALTER DATABASE {database} SET refresh_tokens.access_token_audience = '{audience}';
    ALTER DATABASE {database} SET refresh_tokens.access_token_role = '{user}';
    ALTER DATABASE {database} SET refresh_tokens.client_authentication_hook = 'api.authenticate';
";

/// The application: its database, and how PostgREST is configured for it.
pub struct Application {
    /// Its database.
    pub database: Database,
    /// The role of its users.
    pub user: String,
    /// PostgREST's configuration: the schema `auth`, and `api` where a header asks for it.
    pub config: Config,
}

impl Application {
    /// The application in a database of its own. Its access tokens are signed with a key of the algorithm `alg`.
    ///
    /// # Panics
    /// It can't be set up.
    pub fn create(alg: &str) -> Self {
        Self::create_in(Database::create(), alg)
    }

    /// As [`Application::create`], in this database.
    ///
    /// # Panics
    /// It can't be set up.
    pub fn create_in(database: Database, alg: &str) -> Self {
        let role = |name: &str| format!("{name}_{}", database.name);
        let user = role("user");
        let sql = SQL
            .replace("{anon}", &role("anon"))
            .replace("{user}", &user)
            .replace("{authenticator}", &role("authenticator"))
            .replace("{database}", &database.name)
            .replace("{issuer}", ISSUER)
            .replace("{audience}", AUDIENCE)
            .replace("{plain}", PLAIN_SECRET)
            .replace("{special}", SPECIAL_SECRET);
        let mut owner = database.connect();
        owner.batch_execute(&sql).expect("an application");
        rotate_signing_key(&mut owner, alg);
        let config = Config::for_database(&database, &role("authenticator"))
            .with("db-schemas", "auth, api")
            .with("db-anon-role", &role("anon"))
            .with("db-pre-config", "api.pre_config")
            .with("db-pre-request", "auth.check_session")
            .with("jwt-aud", AUDIENCE);
        Self {
            database,
            user,
            config,
        }
    }

    /// PostgREST in front of it.
    pub fn serve(&self) -> Served {
        Served::start(self.config.clone())
    }

    /// A connection as the superuser.
    pub fn owner(&self) -> Client {
        self.database.connect()
    }
}

/// A request to log `user` in with the client `client`.
pub fn log_in(user: &str, client: Option<&str>) -> Request {
    let body = json!({"user_id": user, "client_id": client, "scope": null});
    Request::post("/rpc/log_in")
        .header("Content-Profile", "api")
        .json(&body)
}

/// A request to refresh with `token`, as a form.
pub fn refresh(token: &str) -> Request {
    Request::post("/rpc/token").form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

/// A request for the notes of whom `access_token` is about.
pub fn notes(access_token: &str) -> Request {
    Request::get("/notes")
        .header("Accept-Profile", "api")
        .bearer(access_token)
}

/// The status of a refusal, and its error code.
pub fn refusal(response: &Response) -> (u16, String) {
    let body = response.json();
    let error = body["error"].as_str().unwrap_or_default();
    (response.status, error.to_owned())
}

/// A text of an answer.
///
/// # Panics
/// It isn't there.
pub fn text(answer: &Value, name: &str) -> String {
    let value = answer[name].as_str();
    value
        .unwrap_or_else(|| panic!("{name} in {answer}"))
        .to_owned()
}

/// Makes a new key of the algorithm `alg`.
///
/// # Panics
/// It can't be made.
pub fn rotate_signing_key(client: &mut Client, alg: &str) {
    const SQL: &str = "SELECT auth.rotate_signing_key($1)";
    client.query_one(SQL, &[&alg]).expect("a key");
}

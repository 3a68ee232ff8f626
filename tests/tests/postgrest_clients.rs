//! Ordinary OAuth clients refresh, revoke, introspect and verify through the bridge, over HTTP.

use postgres::Client;
use refresh_tokens_tests::Database;
use refresh_tokens_tests::postgrest::{Config, Program, Request};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const ISSUER: &str = "https://notes.example";
const AUDIENCE: &str = "notes";

/// An application of the least possible size: anybody may log in as anybody.
const APPLICATION: &str = r"
    CREATE ROLE {anon} NOLOGIN; CREATE ROLE {user} NOLOGIN;
    CREATE ROLE {authenticator} LOGIN NOINHERIT; GRANT {anon}, {user} TO {authenticator};
    SELECT auth.grant_refresh_token_role('{anon}', 'client'), auth.grant_refresh_token_role('{user}', 'client');

    CREATE SCHEMA api;
    GRANT USAGE ON SCHEMA api TO {anon}, {user};
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
        SELECT CASE client_id WHEN 'confidential' THEN client_secret IS NOT DISTINCT FROM 's3cret: +/%&=?;é'
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

/// The application behind the bridge, or behind a real PostgREST.
struct Application {
    database: Database,
    user: String,
    config: Config,
}

impl Application {
    fn create() -> Self {
        let database = Database::create();
        let [anon, user, authenticator] =
            ["anon", "user", "authenticator"].map(|name| format!("{name}_{}", database.name));
        let sql = APPLICATION
            .replace("{anon}", &anon)
            .replace("{user}", &user)
            .replace("{authenticator}", &authenticator)
            .replace("{database}", &database.name)
            .replace("{issuer}", ISSUER)
            .replace("{audience}", AUDIENCE);
        database
            .connect()
            .batch_execute(&sql)
            .expect("an application");
        let socket = database.cluster().socket().display();
        let uri = format!(
            "postgresql:///{}?host={socket}&user={authenticator}",
            database.name
        );
        let config = Config::default()
            .with("db-uri", &uri)
            .with("db-schemas", "auth, api")
            .with("db-anon-role", &anon)
            .with("db-pre-config", "api.pre_config")
            .with("db-pre-request", "auth.check_session")
            .with("jwt-aud", AUDIENCE);
        Self {
            database,
            user,
            config,
        }
    }

    fn serve(&self) -> Program {
        let config = self.config.clone();
        match std::env::var_os("REFRESH_TOKENS_POSTGREST") {
            Some(program) => Program::postgrest(Path::new(&program), config),
            None => Program::bridge(Path::new(env!("CARGO_BIN_EXE_postgrest_bridge")), config),
        }
    }
}

fn rotate_key(client: &mut Client, alg: &str) {
    let sql = "SELECT auth.rotate_signing_key($1)::text";
    client.query_one(sql, &[&alg]).expect("a key");
}

/// An access token whose key is then taken away, and replaced.
fn retired(application: &Application, alg: &str) -> Value {
    let mut owner = application.database.connect();
    rotate_key(&mut owner, alg);
    let program = application.serve();
    let body = json!({"user_id": "alice", "client_id": null, "scope": null});
    let request = Request::post("/rpc/log_in").header("Content-Profile", "api");
    let answer = program.answer(&request.json(&body)).json();
    owner
        .batch_execute("DELETE FROM auth.signing_keys")
        .expect("an owner");
    rotate_key(&mut owner, alg);
    answer["access_token"].clone()
}

fn clients_work(alg: &str) {
    let application = Application::create();
    let retired = retired(&application, alg);
    let program = application.serve();
    let settings = json!({
        "url": program.url(),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "role": application.user,
        "alg": alg,
        "retired": retired,
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.json");
    std::fs::write(&path, settings.to_string()).expect("a writable folder");
    let python = std::env::var_os("REFRESH_TOKENS_PYTHON")
        .expect("REFRESH_TOKENS_PYTHON names a Python with the clients: run `make test`");
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/postgrest/clients.py"))
        .arg(&path)
        .output()
        .expect("Python is there");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{report}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(
        report.contains("Ran 1"),
        "the clients did something: {report}"
    );
}

#[test]
fn clients_work_with_es256() {
    clients_work("ES256");
}

#[test]
fn clients_work_with_eddsa() {
    clients_work("EdDSA");
}

//! Ordinary OAuth clients refresh, revoke, introspect and verify through the bridge, over HTTP.

use refresh_tokens_tests::postgrest::Program;
use refresh_tokens_tests::postgrest::application::{
    AUDIENCE, Application, ISSUER, PLAIN_SECRET, SPECIAL_SECRET, log_in, rotate_signing_key,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The bridge, or a real PostgREST.
fn serve(application: &Application) -> Program {
    let config = application.config.clone();
    match std::env::var_os("REFRESH_TOKENS_POSTGREST") {
        Some(program) => Program::postgrest(Path::new(&program), config),
        None => Program::bridge(Path::new(env!("CARGO_BIN_EXE_postgrest_bridge")), config),
    }
}

/// An access token whose key is then taken away, and replaced.
fn retired(application: &Application, alg: &str) -> Value {
    let answer = application.serve().answer(&log_in("alice", None)).json();
    let mut owner = application.owner();
    owner
        .batch_execute("DELETE FROM auth.signing_keys")
        .expect("an owner");
    rotate_signing_key(&mut owner, alg);
    answer["access_token"].clone()
}

fn clients_work(alg: &str) {
    let application = Application::create(alg);
    let retired = retired(&application, alg);
    let program = serve(&application);
    let settings = json!({
        "url": program.url(),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "role": application.user,
        "alg": alg,
        "retired": retired,
        "secrets": {"confidential": PLAIN_SECRET, "special": SPECIAL_SECRET, "public": null},
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

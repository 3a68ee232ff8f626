//! examples/postgrest: the application runs as it stands, and its page of commands shows what it says.

use refresh_tokens_tests::Cluster;
use refresh_tokens_tests::postgrest::{Config, Program};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/postgrest");

/// The example in a cluster of its own, whose roles it creates, behind the bridge or a real PostgREST. Given as
/// what has to live as long as it is used, and the URL.
fn serve() -> (Arc<Cluster>, Program) {
    let cluster = Arc::new(Cluster::start(&[]));
    cluster.run("createdb", &["notes"]);
    // Readable for whoever the server runs as, which the checkout may not be.
    let script = cluster.folder().join("app.sql");
    fs::copy(Path::new(EXAMPLE).join("app.sql"), &script).expect("a readable example");
    let script = script.to_str().expect("a folder in UTF-8");
    cluster.run(
        "psql",
        &[
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "notes",
            "-f",
            script,
        ],
    );
    let uri = format!(
        "postgresql:///notes?host={}&user=authenticator",
        cluster.socket().display()
    );
    let config = Config::read(&PathBuf::from(EXAMPLE).join("postgrest.conf")).with("db-uri", &uri);
    let program = match std::env::var_os("REFRESH_TOKENS_POSTGREST") {
        Some(program) => Program::postgrest(Path::new(&program), config),
        None => Program::bridge(Path::new(env!("CARGO_BIN_EXE_postgrest_bridge")), config),
    };
    (cluster, program)
}

/// The blocks of a page that are marked with `language`, one after the other.
fn blocks(page: &str, language: &str) -> String {
    let fence = format!("```{language}");
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        if is_fence {
            inside = !inside && *line == fence;
        }
        inside && !is_fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn run(program: &str, arguments: &[&str], url: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("URL", url);
    command.output().expect("the program is there")
}

#[test]
fn the_pages_commands_print_what_it_says() {
    let (_cluster, program) = serve();
    let page = fs::read_to_string(Path::new(EXAMPLE).join("README.md")).expect("a page");
    let output = run(
        "bash",
        &["-euo", "pipefail", "-c", &blocks(&page, "bash")],
        &program.url(),
    );
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        printed,
        blocks(&page, "text"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.lines().count() > 5, "the page has commands");
}

/// What `make demo-postgrest` shows; it checks every answer itself.
#[test]
fn the_demonstration_finds_every_answer_as_it_should_be() {
    let (cluster, program) = serve();
    let sql = "ALTER DATABASE notes SET refresh_tokens.reuse_interval = '2s'";
    cluster.run("psql", &["-X", "-q", "-d", "notes", "-c", sql]);
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo-postgrest.py");
    let output = run("python3", &[demo, &program.url()], &program.url());
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{report}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

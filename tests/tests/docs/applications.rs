//! docs/applications.md, run: each block of a language as it stands, by a scenario of `tests/applications`, and the
//! traps that the page names. A language that isn't on the machine is skipped, and that is said.

use crate::readme::{examples, page, run};
use postgres::Client;
use refresh_tokens_tests::{
    Cluster, Database, assert_invariants, backend_pid, issue, rotate, wait_until, waits,
};
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;

/// Statements are logged, and the values of their parameters are not.
const LOG: [&str; 3] = [
    "log_statement = 'all'",
    "log_parameter_max_length = 0",
    "log_parameter_max_length_on_error = 0",
];

/// A fenced block of the page, and what it is below.
struct Block {
    heading: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = page("docs/applications.md");
    let mut lines = page.lines();
    let mut heading = "";
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                heading: heading.to_owned(),
                language: language.to_owned(),
                text: text.join("\n") + "\n",
            });
        } else if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
    }
    blocks
}

/// The languages, the headings of their blocks in the order of the page, and the tests that run them.
const TESTED: [(&str, &str); 10] = [
    ("js", "pg"),
    ("js", "postgres.js"),
    ("python", "psycopg 3"),
    ("python", "SQLAlchemy"),
    ("python", "Django"),
    ("python", "Django"),
    ("python", "FastAPI"),
    ("go", "pgx"),
    ("java", "JDBC"),
    ("python", "What to retry"),
];

#[test]
fn every_block_of_the_page_is_run() {
    let blocks = blocks();
    let others = |block: &&Block| !["sql", "text"].contains(&block.language.as_str());
    let found: Vec<_> = blocks
        .iter()
        .filter(others)
        .map(|block| (block.language.as_str(), block.heading.as_str()))
        .collect();
    assert_eq!(found, TESTED);
}

/// The README's block, which leaves to the reader what becomes of the grant.
#[test]
fn what_the_readme_shows_of_an_application_runs() {
    let Some(application) = Application::create("node") else {
        return;
    };
    let readme = page("README.md");
    let block = readme.split("```js\n").nth(1).expect("a block");
    let block = block.split("```").next().expect("its end");
    let script = format!(
        "import pg from 'pg';
         const pool = new pg.Pool();
         const token = process.argv[2];
         const send = (grant) => console.log('send', grant.status);
         const logInAgain = (status) => console.log('log in again', status);
         {block}
         process.exit();"
    );
    fs::write(application.folder.path().join("readme.mjs"), script).expect("a writable folder");
    let token = issue(&mut application.database.connect(), "alice");
    for printed in ["send rotated\n", "log in again reuse_detected\n"] {
        assert_eq!(application.node(&["readme.mjs", token.token()]), printed);
    }
}

/// In a cluster of its own: the roles have the names of the page.
#[test]
fn what_the_page_tells_to_run_in_sql_runs_as_it_stands() {
    let examples = examples(&page("docs/applications.md"));
    assert!(examples.len() > 7, "there is some SQL");
    run(&Cluster::start(&[]), &examples);
}

/// An application: a database with the role `app`, and a folder with its sources.
struct Application {
    database: Database,
    folder: TempDir,
    /// What scripts/setup.sh has installed for the language.
    tools: PathBuf,
}

/// Past the test runner, which shows nothing of a test that passes.
fn skip(why: &str) {
    let line = format!("skipped: {why}\n");
    let written = io::stderr().write_all(line.as_bytes());
    written.expect("stderr");
}

impl Application {
    /// None if what `language` needs is not on this machine.
    fn create(language: &str) -> Option<Self> {
        let Some(tools) = std::env::var_os("REFRESH_TOKENS_APPLICATIONS") else {
            skip("REFRESH_TOKENS_APPLICATIONS is not set: run `make test`");
            return None;
        };
        let tools = Path::new(&tools).join(language);
        if !tools.join("complete").exists() {
            skip(&format!(
                "there is no {language} here, or not what applications in it need"
            ));
            return None;
        }
        let cluster = Arc::new(Cluster::start(&LOG));
        let database = Database::create_in(&cluster);
        let name = &database.name;
        // Whatever comes back late is a reuse; and what the caller has not committed does not count.
        let setup = format!(
            "CREATE ROLE app LOGIN;
             SELECT auth.grant_refresh_token_role('app', 'server');
             GRANT CREATE ON SCHEMA public TO app;
             ALTER DATABASE {name} SET refresh_tokens.reuse_interval = 0;
             ALTER DATABASE {name} SET refresh_tokens.durable_reuse = off;"
        );
        database.connect().batch_execute(&setup).expect("a role");
        Some(Self {
            database,
            folder: tempfile::tempdir().expect("a temporary folder"),
            tools,
        })
    }

    /// The `at`th block below `heading`, as `file`.
    fn block(&self, heading: &str, at: usize, file: &str) {
        let blocks = blocks();
        let mut below = blocks.iter().filter(|block| block.heading == heading);
        let block = below.nth(at).expect("a block");
        fs::write(self.folder.path().join(file), &block.text).expect("a writable folder");
    }

    /// A file of `tests/applications`.
    fn copy(&self, file: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("applications");
        fs::copy(from.join(file), self.folder.path().join(file)).expect("a file to copy");
    }

    /// A command that is run in the application's folder and finds the database by the environment.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.folder.path())
            .env("PGHOST", self.database.cluster().socket())
            .env("PGDATABASE", &self.database.name)
            .env("PGUSER", "app");
        command
    }

    /// What `command` prints.
    fn output(command: &mut Command) -> String {
        let output = command.output().expect("the program is there");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}\n{printed}{errors}");
        printed
    }

    fn python(&self, arguments: &[&str]) -> String {
        let program = self.tools.join("bin/python");
        Self::output(self.command(program).args(arguments))
    }

    fn node(&self, arguments: &[&str]) -> String {
        let modules = self.folder.path().join("node_modules");
        if !modules.exists() {
            symlink(self.tools.join("node_modules"), modules).expect("a writable folder");
        }
        Self::output(self.command("node").args(arguments))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.database.cluster().log()).expect("a log")
    }

    fn ask(&self, sql: &str) -> i64 {
        let mut client = self.database.connect();
        client.query_one(sql, &[]).expect("a row").get(0)
    }

    /// Checks what a scenario has printed, what it has left in the tables, and that the log shows no token.
    fn check(&self, printed: &str) {
        let lines: Vec<_> = printed
            .lines()
            .map(|line| line.split_once(' ').expect("a status and a word"))
            .collect();
        let is_token = |word: &str| word.len() > 40;
        let shown: Vec<_> = lines
            .iter()
            .map(|&(status, word)| (status, if is_token(word) { "token" } else { word }))
            .collect();
        let expected = [
            ("200", "token"),
            ("200", "token"),
            ("200", "token"),
            ("401", "reuse_detected"),
            ("401", "revoked"),
            ("200", "token"),
            ("204", "-"),
            ("401", "revoked"),
            ("401", "malformed"),
        ];
        assert_eq!(shown, expected);

        let log = self.log();
        assert!(
            log.contains("auth.rotate_refresh_token("),
            "it has statements"
        );
        for (_, token) in lines.iter().filter(|(_, word)| is_token(word)) {
            assert!(!log.contains(token), "a token in the log");
        }
        // Two logins and no more, with what is known of the client; two rotations; and both refusals are committed.
        let sessions =
            "SELECT count(*) FROM auth.sessions WHERE ip IS NOT NULL AND user_agent IS NOT NULL";
        assert_eq!(self.ask(sessions), 2);
        assert_eq!(self.ask("SELECT count(*) FROM auth.refresh_tokens"), 4);
        let live = "SELECT count(*) FROM auth.sessions WHERE auth.is_session_live(id)";
        assert_eq!(self.ask(live), 0);
        let reuses =
            "SELECT count(*) FROM auth.refresh_token_events WHERE event = 'reuse_detected'";
        assert_eq!(self.ask(reuses), 1);
        assert_invariants(&mut self.database.connect());
    }
}

#[test]
fn node_pg() {
    let Some(application) = Application::create("node") else {
        return;
    };
    application.block("pg", 0, "sessions.mjs");
    application.copy("scenario.mjs");
    application.check(&application.node(&["scenario.mjs"]));
}

#[test]
fn node_postgres_js() {
    let Some(application) = Application::create("node") else {
        return;
    };
    application.block("postgres.js", 0, "sessions.mjs");
    application.copy("scenario.mjs");
    application.check(&application.node(&["scenario.mjs"]));
}

#[test]
fn python_psycopg() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.block("psycopg 3", 0, "sessions.py");
    application.copy("scenario.py");
    application.check(&application.python(&["scenario.py", "integer"]));
}

#[test]
fn python_sqlalchemy() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.block("SQLAlchemy", 0, "sessions.py");
    application.copy("scenario.py");
    application.check(&application.python(&["scenario.py", "uuid"]));
}

#[test]
fn python_django() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.block("Django", 0, "settings.py");
    application.block("Django", 1, "views.py");
    application.copy("scenario_django.py");
    application.check(&application.python(&["scenario_django.py"]));
}

#[test]
fn python_fastapi() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.block("FastAPI", 0, "sessions.py");
    application.copy("scenario_fastapi.py");
    application.check(&application.python(&["scenario_fastapi.py"]));
}

#[test]
fn python_retries() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.block("What to retry", 0, "retries.py");
    application.copy("scenario_retries.py");
    let printed = application.python(&["scenario_retries.py"]);
    assert_eq!(
        printed,
        "the first attempt failed with 40001\nthe second one is answered revoked\n"
    );
}

#[test]
fn go_pgx() {
    let Some(application) = Application::create("go") else {
        return;
    };
    application.block("pgx", 0, "sessions.go");
    for file in ["scenario.go", "go.mod", "go.sum"] {
        application.copy(file);
    }
    let mut go = application.command("go");
    go.args(["run", "-mod=readonly", "."])
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .env("GOMODCACHE", application.tools.join("modules"))
        .env("GOCACHE", application.tools.join("builds"));
    application.check(&Application::output(&mut go));
    let log = application.log();
    assert!(log.contains("revoke_refresh_token( 'written' )"), "{log}");
    assert!(!log.contains("'bound'"));
}

/// A port of this machine that leads to the socket of `cluster`, as long as the process runs: JDBC knows no such sockets.
fn forward(cluster: &Cluster) -> u16 {
    let socket = cluster.socket().join(".s.PGSQL.5432");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let pump = |mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>| {
        thread::spawn(move || io::copy(&mut from, &mut to));
    };
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let server = UnixStream::connect(&socket).expect("a server");
            let copies = (client.try_clone(), server.try_clone());
            pump(Box::new(client), Box::new(copies.1.expect("a socket")));
            pump(Box::new(server), Box::new(copies.0.expect("a socket")));
        }
    });
    port
}

#[test]
fn java_jdbc() {
    let Some(application) = Application::create("java") else {
        return;
    };
    application.block("JDBC", 0, "Sessions.java");
    application.copy("Scenario.java");
    let path = format!("{}:.", application.tools.join("postgresql.jar").display());
    let sources = ["Sessions.java", "Scenario.java"];
    let mut compiler = application.command("javac");
    Application::output(compiler.args(["-cp", &path]).args(sources));
    let port = forward(application.database.cluster());
    let name = &application.database.name;
    let url = format!("jdbc:postgresql://127.0.0.1:{port}/{name}?user=app");
    let mut java = application.command("java");
    let printed = Application::output(java.args(["-ea", "-cp", &path, "Scenario", &url]));
    application.check(&printed);
    let log = application.log();
    assert!(log.contains("in mode simple"), "{log}");
    assert!(!log.contains("in mode extended"));
}

/// A statement with the token in its text, in the log.
fn is_shown(application: &Application, token: &str) -> bool {
    let log = application.log();
    let mut statements = log
        .lines()
        .filter(|line| line.contains("rotate_refresh_token"));
    statements.any(|line| line.contains(token))
}

/// Runs the trap `name` of `file` with a token, and gives whether the log shows the token.
fn shows(application: &Application, file: &str, name: &str) -> bool {
    let token = issue(&mut application.database.connect(), "alice");
    let token = token.token();
    application.copy(file);
    let printed = match file.ends_with(".py") {
        true => application.python(&[file, name, token]),
        false => application.node(&[file, name, token]),
    };
    assert_eq!(printed, "rotated\n", "{name}");
    is_shown(application, token)
}

#[test]
fn which_drivers_of_python_write_a_token_into_the_statement() {
    let Some(application) = Application::create("python") else {
        return;
    };
    for name in [
        "psycopg2",
        "client_cursor",
        "django_default",
        "sqlalchemy_psycopg2",
    ] {
        assert!(shows(&application, "traps.py", name), "{name}");
    }
    for name in ["psycopg", "django_server_side"] {
        assert!(!shows(&application, "traps.py", name), "{name}");
    }
}

#[test]
fn which_drivers_of_node_write_a_token_into_the_statement() {
    let Some(application) = Application::create("node") else {
        return;
    };
    assert!(shows(&application, "traps.mjs", "sequelize_replacements"));
    assert!(!shows(&application, "traps.mjs", "sequelize_bind"));
    assert!(!shows(&application, "traps.mjs", "pg"));
}

#[test]
fn a_bigint_comes_to_node_as_text() {
    let Some(application) = Application::create("node") else {
        return;
    };
    let token = issue(&mut application.database.connect(), "alice");
    application.copy("traps.mjs");
    for driver in ["pg_bigint", "postgres_bigint"] {
        let printed = application.node(&["traps.mjs", driver, token.token()]);
        assert_eq!(printed, "string string\n", "{driver}");
    }
}

#[test]
fn a_django_view_that_raises_undoes_the_refusal_unless_verdicts_are_durable() {
    let Some(application) = Application::create("python") else {
        return;
    };
    let mut client = application.database.connect();
    application.copy("traps.py");
    let name = &application.database.name;
    let live = "SELECT count(*) FROM auth.sessions WHERE auth.is_session_live(id)";
    for (durable, left) in [("off", 1), ("on", 0)] {
        let setting = format!("ALTER DATABASE {name} SET refresh_tokens.durable_reuse = {durable}");
        client.batch_execute(&setting).expect("a setting");
        client
            .batch_execute("DELETE FROM auth.sessions")
            .expect("none");
        let token = issue(&mut client, "alice");
        let other = application.database.connect();
        rotate_in(other, token.token());
        let printed = application.python(&["traps.py", "django_raises", token.token()]);
        assert_eq!(printed, "reuse_detected 403\n");
        wait_until("the verdict is undone or done again", || {
            application.ask(live) == left
        });
    }
}

#[test]
fn what_rolls_back_and_what_commits_in_python() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.copy("traps.py");
    let mut client = application.database.connect();
    for (name, printed, tokens) in [
        ("sqlalchemy_connect", "rotated\n", 1),
        ("fastapi_dependency", "rotated 403\n", 1),
        ("django_raises", "rotated 403\n", 1),
        ("django_raises_non_atomic", "rotated 403\n", 2),
    ] {
        let token = issue(&mut client, name);
        assert_eq!(
            application.python(&["traps.py", name, token.token()]),
            printed,
            "{name}"
        );
        let sql = format!("SELECT count(*) FROM auth.refresh_tokens WHERE user_id = '{name}'");
        assert_eq!(application.ask(&sql), tokens, "{name}");
    }
}

#[test]
fn what_sqlalchemy_takes_for_a_parameter_and_shows_of_it() {
    let Some(application) = Application::create("python") else {
        return;
    };
    application.copy("traps.py");
    let printed = application.python(&["traps.py", "sqlalchemy_double_colon", "a token"]);
    assert_eq!(printed, "['other']\n");
    let printed = application.python(&["traps.py", "sqlalchemy_errors", "a token"]);
    assert_eq!(printed, "(True, False)\n");
}

fn rotate_in(mut client: Client, token: &str) {
    let grant = rotate(&mut client, token).expect("a verdict");
    assert_eq!(grant.status, "rotated");
}

/// The statements of the page below `heading`, by their beginning.
fn statement(heading: &str, start: &str) -> String {
    let blocks = blocks();
    let below = blocks.iter().filter(|block| block.heading == heading);
    let mut found = below.filter_map(|block| block.text.find(start).map(|at| &block.text[at..]));
    found.next().expect("a statement").to_owned()
}

/// A table of users with alice in it, and the trigger of the page.
fn users(database: &Database) {
    let trigger = statement("Deleting a user", "CREATE FUNCTION end_sessions");
    let setup = format!(
        "CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text UNIQUE NOT NULL);
         INSERT INTO users (email) VALUES ('alice@example.com');
         {trigger}"
    );
    database.connect().batch_execute(&setup).expect("users");
}

#[test]
fn a_login_that_is_under_way_does_not_outlive_its_user() {
    const DELETE: &str = "DELETE FROM users";
    let log_in = statement("Deleting a user", "SELECT session.status");
    let live = "SELECT count(*) FROM auth.sessions WHERE auth.is_session_live(id)";
    let database = Database::create();
    users(&database);

    // The login comes first: whoever deletes waits for it.
    let mut first = database.connect();
    first
        .batch_execute(&format!("BEGIN; {log_in}"))
        .expect("a login");
    thread::scope(|scope| {
        let mut second = database.connect();
        let pid = backend_pid(&mut second);
        let deletion = scope.spawn(move || second.execute(DELETE, &[]));
        let mut observer = database.connect();
        wait_until("the deletion waits", || waits(&mut observer, pid));
        first.batch_execute("COMMIT").expect("a commit");
        assert_eq!(deletion.join().expect("no panic").expect("deleted"), 1);
    });
    let mut client = database.connect();
    let count = |client: &mut Client| -> i64 { client.query_one(live, &[]).expect("a row").get(0) };
    assert_eq!(
        client
            .query("SELECT FROM auth.sessions", &[])
            .expect("rows")
            .len(),
        1
    );
    assert_eq!(count(&mut client), 0);

    // The deletion comes first: the login waits, and finds nobody.
    client
        .batch_execute("INSERT INTO users (email) VALUES ('alice@example.com')")
        .expect("a user");
    first
        .batch_execute(&format!("BEGIN; {DELETE}"))
        .expect("deleted");
    thread::scope(|scope| {
        let mut second = database.connect();
        let pid = backend_pid(&mut second);
        let log_in = &log_in;
        let login = scope.spawn(move || second.query(log_in, &[]));
        wait_until("the login waits", || waits(&mut client, pid));
        first.batch_execute("COMMIT").expect("a commit");
        assert_eq!(login.join().expect("no panic").expect("an answer").len(), 0);
    });
    assert_eq!(count(&mut client), 0);
}

#[test]
fn erasing_leaves_nothing_that_names_the_user() {
    let erase = statement("Erasing personal data", "BEGIN;").replace(":'id'", "'alice'");
    let database = Database::create();
    let mut client = database.connect();
    for user in ["alice", "bob"] {
        let sql = "SELECT refresh_token FROM auth.issue_refresh_token($1, user_agent => 'a browser', ip => '192.0.2.1')";
        let token: String = client.query_one(sql, &[&user]).expect("a login").get(0);
        let sql = "SELECT auth.revoke_refresh_token($1)";
        client.execute(sql, &[&token]).expect("a logout");
        issue(&mut client, user);
    }
    client
        .batch_execute("INSERT INTO auth.refresh_tokens (token, user_id, revoked) VALUES ('without a session', 'alice', true)")
        .expect("a row");
    client.batch_execute(&erase).expect("erased");
    let sql = "SELECT (SELECT count(*) FROM auth.sessions AS t WHERE to_jsonb(t)::text ~ 'alice')
                    + (SELECT count(*) FROM auth.refresh_tokens AS t WHERE to_jsonb(t)::text ~ 'alice')
                    + (SELECT count(*) FROM auth.refresh_token_events AS t WHERE to_jsonb(t)::text ~ 'alice')";
    assert_eq!(
        client.query_one(sql, &[]).expect("a row").get::<_, i64>(0),
        0
    );
    let sql = "SELECT user_id, user_agent, host(ip) FROM auth.refresh_token_events ORDER BY id";
    let rows = client.query(sql, &[]).expect("rows");
    let events: Vec<[Option<String>; 3]> = rows
        .iter()
        .map(|row| [row.get(0), row.get(1), row.get(2)])
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0], [None, None, None]);
    assert_eq!(events[1][0].as_deref(), Some("bob"));
    let sessions = "SELECT count(*) FROM auth.sessions WHERE user_id = 'bob'";
    assert_eq!(
        client
            .query_one(sessions, &[])
            .expect("a row")
            .get::<_, i64>(0),
        2
    );
    assert_invariants(&mut client);
}

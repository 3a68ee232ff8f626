//! `examples/monitoring`, in use: postgres_exporter reads two databases of a server, Prometheus scrapes it and evaluates the
//! alert rules, and each query of the dashboard has an answer. Debian's packages of both are run from where
//! scripts/test has put their files; where it could not, this is skipped, and that is said.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use refresh_tokens_tests::{Cluster, Database, issue, rotate, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(repository(name)).expect("a file of the repository")
}

/// A program of one of these Debian packages. None, and a line that says so, if it is in none that is there.
fn program(packages: &[&str], name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("REFRESH_TOKENS_MONITORING").unwrap_or_default();
    let complete = packages
        .iter()
        .map(|package| Path::new(&cache).join(package));
    let complete = complete.filter(|folder| folder.join("complete").exists());
    let mut programs = complete.map(|folder| folder.join("usr/bin").join(name));
    if let Some(program) = programs.find(|program| program.exists()) {
        return Some(program);
    }
    // past the test runner, which shows nothing of a test that passes
    let line = format!("skipped: there is no {name} (REFRESH_TOKENS_MONITORING)\n");
    let written = std::io::stderr().write_all(line.as_bytes());
    written.expect("stderr");
    None
}

/// A program that listens. Dropping it stops it.
struct Server {
    child: Child,
    address: String,
    log: PathBuf,
}

impl Server {
    /// Starts `command`, with where it listens as its last argument, and waits until it serves `ready`.
    fn start(mut command: Command, folder: &Path, name: &str, ready: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a writable folder");
        let child = command
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program is there");
        let server = Self {
            child,
            address,
            log,
        };
        wait_until(&format!("{name} is ready"), || {
            server.try_get(ready).is_some()
        });
        server
    }

    /// The body of the answer to a GET, if that is a success.
    fn try_get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        // HTTP/1.0, so that nothing is sent in chunks.
        let head = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?;
        (status == "200").then(|| body.to_owned())
    }

    fn get(&self, path: &str) -> String {
        self.try_get(path).expect("an answer")
    }

    /// Prometheus' answer, which must be a success.
    fn api(&self, path: &str) -> Value {
        let answer: Value = serde_json::from_str(&self.get(path)).expect("JSON");
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series that a query gives now.
    fn query(&self, query: &str) -> Vec<Value> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let data = self.api(&format!("/api/v1/query?query={query}"));
        data["result"].as_array().expect("series").clone()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two databases of a server, with something to be seen in each: logins, rotations, a reuse, and tokens that purge has left.
fn databases() -> (Arc<Cluster>, [Database; 2]) {
    let settings = ["shared_preload_libraries = 'refresh_tokens'"];
    let cluster = Arc::new(Cluster::start(&settings));
    let databases = [(); 2].map(|()| Database::create_in(&cluster));
    let [role, grant] = &blocks("sql")[..] else {
        panic!("two blocks of SQL")
    };
    databases[0].connect().batch_execute(role).expect("a role");
    for database in &databases {
        let mut client = database.connect();
        client.batch_execute(grant).expect("a grant");
        let first = issue(&mut client, "alice");
        rotate(&mut client, first.token()).expect("a verdict");
        rotate(&mut client, first.token()).expect("a retry");
    }
    let mut client = databases[1].connect();
    let stolen = issue(&mut client, "bob");
    rotate(&mut client, stolen.token()).expect("a verdict");
    client
        .batch_execute("SET refresh_tokens.reuse_interval = 0")
        .expect("a setting");
    let verdict = rotate(&mut client, stolen.token()).expect("a verdict");
    assert_eq!(verdict.status, "reuse_detected");
    client
        .batch_execute(
            "INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at)
             VALUES ('old', 'carol', true, now() - interval '99 d', now() - interval '98 d')",
        )
        .expect("a row");
    (cluster, databases)
}

/// The blocks of `language` in examples/monitoring/README.md.
fn blocks(language: &str) -> Vec<String> {
    let page = text("examples/monitoring/README.md");
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().expect("a block").to_owned())
        .collect()
}

/// postgres_exporter on both databases, with the options of the README.
fn export(program: &Path, folder: &Path, database: &Database) -> Server {
    let shell = blocks("sh").remove(0);
    let source = shell.split('\'').nth(1).expect("a source");
    let socket = database.cluster().socket().display().to_string();
    let source = source
        .replace("/var/run/postgresql", &socket)
        .replace("dbname=app", &format!("dbname={}", database.name));
    let examples = repository("examples/monitoring").display().to_string();
    let options = shell
        .split_whitespace()
        .filter(|word| word.starts_with("--"));
    let options: Vec<_> = options
        .map(|option| {
            option.replace(
                "postgres_exporter.yaml",
                &format!("{examples}/postgres_exporter.yaml"),
            )
        })
        .collect();
    assert_eq!(options.len(), 3);
    let mut command = Command::new(program);
    command.env("DATA_SOURCE_NAME", source).args(options);
    Server::start(command, folder, "exporter", "/")
}

/// Prometheus with the configuration of the README, in a hurry.
fn scrape(program: &Path, folder: &Path, exporter: &Server) -> Server {
    let rules = repository("examples/monitoring/alerts.yaml");
    let configuration = blocks("yaml")
        .remove(0)
        .replace("alerts.yaml", &rules.display().to_string())
        .replace("localhost:9187", &exporter.address);
    let hurry = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n";
    fs::write(
        folder.join("prometheus.yml"),
        format!("{hurry}{configuration}"),
    )
    .expect("a writable folder");
    let mut command = Command::new(program);
    command
        .arg("--config.file=prometheus.yml")
        .arg("--storage.tsdb.path=data");
    Server::start(command, folder, "prometheus", "/-/ready")
}

/// The queries of the dashboard, with what Grafana would put in the place of its variables.
fn panels() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&text("examples/monitoring/grafana.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let queries = targets.map(|target| target["expr"].as_str().expect("a query"));
    queries
        .map(|query| {
            query
                .replace("$datname", ".*")
                .replace("$__rate_interval", "1m")
        })
        .collect()
}

/// The values of a label.
fn labels(series: &[Value], name: &str) -> BTreeSet<String> {
    let values = series
        .iter()
        .filter_map(|series| series["metric"][name].as_str());
    values.map(str::to_owned).collect()
}

#[test]
fn two_databases_are_scraped_and_the_dashboard_and_the_alerts_have_their_figures() {
    let programs = (
        program(
            &["prometheus-postgres-exporter"],
            "prometheus-postgres-exporter",
        ),
        program(&["prometheus"], "prometheus"),
    );
    let (Some(exporter), Some(prometheus)) = programs else {
        return;
    };
    let folder = TempDir::new().expect("a temporary folder");
    let (_cluster, databases) = databases();
    let names: BTreeSet<_> = databases
        .iter()
        .map(|database| database.name.clone())
        .collect();
    let exporter = export(&exporter, folder.path(), &databases[0]);
    let prometheus = scrape(&prometheus, folder.path(), &exporter);

    // A rate takes two samples, and the counters of answers have to move for one.
    let mut client = databases[0].connect();
    let mut token = issue(&mut client, "dora").token().to_owned();
    let retried = r#"increase(refresh_tokens_answers_total{status="retried"}[1m]) > 0"#;
    wait_until("Prometheus has seen some rotations and retries", || {
        let next = rotate(&mut client, &token).expect("a verdict").token;
        rotate(&mut client, &token).expect("a retry");
        token = next.expect("a token");
        !prometheus.query(retried).is_empty()
    });

    let log = exporter.log();
    assert!(!log.contains("level=error"), "{log}");
    let metrics = exporter.get("/metrics");
    assert!(
        metrics.contains("pg_exporter_last_scrape_error 0"),
        "{metrics}"
    );

    let queries = panels();
    assert!(queries.len() > 15, "{}", queries.len());
    for query in &queries {
        let series = prometheus.query(query);
        assert!(!series.is_empty(), "no data: {query}\n{metrics}");
        if query.contains("datname") && !query.starts_with("sum") {
            assert_eq!(labels(&series, "datname"), names, "{query}");
        }
    }
    for figure in ["live_sessions", "events_last_hour", "doctor_findings"] {
        let series = prometheus.query(&format!("refresh_tokens_{figure}"));
        assert_eq!(labels(&series, "datname"), names, "{figure}");
    }
    let answers = prometheus.query(r#"refresh_tokens_answers_total{status="rotated"}"#);
    assert_eq!(
        answers.len(),
        1,
        "they are of all databases, and counted once"
    );

    // Every rule can be evaluated, and those fire that have a reason.
    let firing = || {
        labels(
            &prometheus.query(r#"ALERTS{alertstate="firing"}"#),
            "alertname",
        )
    };
    wait_until("an alert fires", || !firing().is_empty());
    let reuse = prometheus.query(r#"ALERTS{alertname="RefreshTokenReuse"}"#);
    assert_eq!(
        labels(&reuse, "datname"),
        BTreeSet::from([databases[1].name.clone()])
    );
    let pending = prometheus.query(r#"ALERTS{alertname="RefreshTokenPurgeMissing"}"#);
    assert_eq!(
        labels(&pending, "datname"),
        BTreeSet::from([databases[1].name.clone()])
    );
    let groups = prometheus.api("/api/v1/rules");
    let rules = groups["groups"][0]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// The names of the alerts.
fn alerts() -> BTreeSet<String> {
    let rules = text("examples/monitoring/alerts.yaml");
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn the_alerts_fire_when_they_should() {
    let Some(promtool) = program(&["prometheus", "promtool"], "promtool") else {
        return;
    };
    let tests = text("tests/monitoring/alerts_test.yaml");
    for alert in alerts() {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} has no test"
        );
    }
    for arguments in [
        ["check", "rules", "examples/monitoring/alerts.yaml"],
        ["test", "rules", "tests/monitoring/alerts_test.yaml"],
    ] {
        let mut command = Command::new(&promtool);
        let output = command.args(arguments).current_dir(repository("")).output();
        let output = output.expect("the program is there");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}{errors}");
    }
}

/// The events and severities that the file names are those that there are.
#[test]
fn the_exporter_knows_every_event_of_the_security_set() {
    let reference = text("docs/reference.md");
    let rows = reference
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    let events: Vec<_> = rows
        .filter_map(|row| row.split_once("` | security |").map(|(event, _)| event))
        .collect();
    assert_eq!(events.len(), 7);
    let list = format!("'{{{}}}'", events.join(","));
    let queries = text("examples/monitoring/postgres_exporter.yaml");
    assert!(queries.contains(&list), "{list}");
}

/// The queries for the exporter, each with the names of its columns.
fn queries() -> Vec<(String, Vec<String>)> {
    let file = text("examples/monitoring/postgres_exporter.yaml");
    let mut queries = Vec::<(String, Vec<String>)>::new();
    let mut inside = false;
    for line in file.lines() {
        if let Some(query) = line.strip_prefix("  query: ") {
            inside = query == "|";
            queries.push((query.trim_start_matches('|').to_owned(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix("    - ") {
            let (name, _) = rest.split_once(':').expect("a column");
            queries.last_mut().expect("a query").1.push(name.to_owned());
        } else if inside && line.starts_with("    ") {
            queries.last_mut().expect("a query").0 += &format!("{line}\n");
        } else {
            inside = false;
        }
    }
    queries
}

/// The library is not preloaded, so the first query of a connection loads it, and its settings.
#[test]
fn each_query_for_the_exporter_is_the_first_of_a_connection() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute(
            "CREATE ROLE exporter_of_figures LOGIN;
             SELECT auth.grant_refresh_token_role('exporter_of_figures', 'operator')",
        )
        .expect("a role");
    let queries = queries();
    assert_eq!(queries.len(), 4);
    for (query, columns) in queries {
        let mut client = database.connect_as("exporter_of_figures");
        let statement = client.prepare(&query).expect("a query");
        let names: Vec<_> = statement
            .columns()
            .iter()
            .map(postgres::Column::name)
            .collect();
        assert_eq!(names, columns);
        client.query(&statement, &[]).expect("figures");
    }
}

#[test]
fn recent_events_are_found_by_their_time() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute(
            "INSERT INTO auth.refresh_token_events (occurred_at, event)
             SELECT now() - n * interval '1 min', 'rotated' FROM generate_series(1, 20000) AS n;
             ANALYZE auth.refresh_token_events",
        )
        .expect("rows");
    let (query, _) = &queries()[2];
    let rows = client
        .query(&format!("EXPLAIN {query}"), &[])
        .expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("refresh_token_events_occurred_at_idx"),
        "{plan}"
    );
    assert!(!plan.contains("Seq Scan on refresh_token_events"), "{plan}");
}

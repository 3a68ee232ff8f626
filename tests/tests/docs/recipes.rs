//! The recipes of docs/operations.md that take a shell or a second server, run from the page's own text.

use postgres::Client;
use refresh_tokens_tests::{
    Cluster, assert_invariants, error_code, install, issue, rotate, wait_until,
};
use std::fs;
use std::path::Path;

/// The blocks of a section of the page, in their order, whatever their language.
fn blocks(title: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = fs::read_to_string(file).expect("a page");
    let (_, section) = page
        .split_once(&format!("# {title}\n"))
        .expect("the section is there");
    let mut blocks = Vec::new();
    let mut lines = section.lines().take_while(|line| !line.starts_with('#'));
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// Runs a script of the page in a shell, in the cluster's folder, and gives whether it succeeded and what it said.
fn shell(cluster: &Cluster, script: &str) -> (bool, String) {
    let bin = std::env::var("REFRESH_TOKENS_PG_BIN").expect("the server's programs");
    let script = format!(
        "set -eu; PATH={bin}:$PATH; cd '{}'\n{script}",
        cluster.folder().display()
    );
    let output = cluster.try_run("/bin/sh", &["-c", &script]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// Runs SQL of the page as psql does.
fn sql(cluster: &Cluster, database: &str, name: &str, sql: &str) {
    let script = format!("psql -X -q -v ON_ERROR_STOP=1 -d {database} <<'{name}'\n{sql}\n{name}\n");
    let (succeeded, said) = shell(cluster, &script);
    assert!(succeeded, "{sql}\n{said}");
}

/// A cluster with a database `app` that has the extension.
fn app(settings: &[&str]) -> (Cluster, Client) {
    let cluster = Cluster::start(settings);
    let create = "CREATE DATABASE app";
    let mut superuser = cluster.connect("postgres", "postgres");
    superuser.batch_execute(create).expect("a database");
    let mut client = cluster.connect("app", "postgres");
    install(&mut client);
    (cluster, client)
}

fn line(client: &mut Client, sql: &str) -> String {
    let row = client.query_one(sql, &[]).expect("a row");
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

#[test]
fn a_table_of_ones_own_survives_a_dump_and_goes_with_the_session() {
    let (cluster, mut client) = app(&[]);
    let own = &blocks("Columns of your own")[0];
    sql(&cluster, "app", "own", own);
    let (succeeded, said) = shell(
        &cluster,
        "createdb copy; pg_dump -d app | psql -X -q -v ON_ERROR_STOP=1 -d copy",
    );
    assert!(succeeded, "{said}");
    const ROWS: &str =
        "SELECT d::text FROM session_devices AS d JOIN auth.sessions ON id = session_id";
    let mut copy = cluster.connect("copy", "postgres");
    assert_eq!(line(&mut copy, ROWS), line(&mut client, ROWS));
    copy.batch_execute(
        "UPDATE auth.sessions SET created_at = now() - interval '1 year', not_after = now() - interval '300 d';
         UPDATE auth.refresh_tokens SET updated_at = now() - interval '300 d', revoked = true",
    )
    .expect("a superuser may");
    copy.batch_execute("CALL auth.purge_all()")
        .expect("a purge");
    let left = "SELECT count(*)::text FROM session_devices";
    assert_eq!(line(&mut copy, left), "0");
}

#[test]
fn a_dump_with_a_column_of_ones_own_is_restored_in_order() {
    let (cluster, mut client) = app(&[]);
    client
        .batch_execute("ALTER TABLE auth.sessions ADD COLUMN device_name text")
        .expect("a superuser may");
    let token = issue(&mut client, "alice");
    client
        .batch_execute("UPDATE auth.sessions SET device_name = 'phone'")
        .expect("a superuser may");
    // Any other way loses every session.
    let (succeeded, _) = shell(
        &cluster,
        "createdb lost; pg_dump -Fc -f lost.dump app; pg_restore -e -d lost lost.dump",
    );
    assert!(!succeeded);
    let (succeeded, said) = shell(&cluster, &blocks("Columns of your own")[1]);
    assert!(succeeded, "{said}");
    let mut restored = cluster.connect("restored", "postgres");
    assert_eq!(
        line(&mut restored, "SELECT device_name FROM auth.sessions"),
        "phone"
    );
    let rotated = rotate(&mut restored, token.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    assert_invariants(&mut restored);
}

/// What is added to the tables is not in a dump, as the page says.
#[test]
fn what_is_added_to_the_tables_is_not_in_a_dump() {
    let (cluster, mut client) = app(&["wal_level = logical"]);
    client
        .batch_execute(
            "CREATE INDEX own_index ON auth.sessions (tag);
             ALTER TABLE auth.sessions ADD CONSTRAINT own_check CHECK (user_id <> '');
             CREATE TRIGGER own_trigger BEFORE UPDATE ON auth.sessions
                 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
             CREATE POLICY own_policy ON auth.sessions USING (true);
             CREATE STATISTICS own_statistics ON user_id, tag FROM auth.sessions;
             CREATE RULE own_rule AS ON DELETE TO auth.sessions DO ALSO NOTIFY own;
             CREATE TABLE users (id varchar(255) PRIMARY KEY);
             ALTER TABLE auth.sessions ADD CONSTRAINT own_key FOREIGN KEY (user_id) REFERENCES users;
             CREATE PUBLICATION members FOR TABLE auth.sessions",
        )
        .expect("a superuser may");
    let dump = cluster.run("pg_dump", &["-d", "app"]);
    assert!(dump.contains("CREATE PUBLICATION members"));
    assert!(!dump.contains("own_"), "{dump}");
    assert!(!dump.contains("ADD TABLE"), "{dump}");
}

#[test]
fn settings_are_in_a_dump_of_the_database_with_its_creation_alone() {
    let (cluster, mut client) = app(&[]);
    client
        .batch_execute(
            "CREATE ROLE app_server; ALTER ROLE app_server SET refresh_tokens.idle_timeout = '2 d';
             ALTER DATABASE app SET refresh_tokens.session_lifetime = '90 d'",
        )
        .expect("a superuser may");
    let has = |program: &str, options: &[&str], setting: &str| {
        cluster.run(program, options).contains(setting)
    };
    let (database, role) = (
        "refresh_tokens.session_lifetime",
        "refresh_tokens.idle_timeout",
    );
    assert!(!has(
        "pg_dump",
        &["-d", "app"],
        "refresh_tokens.session_lifetime"
    ));
    assert!(has("pg_dump", &["-C", "-d", "app"], database));
    assert!(!has("pg_dump", &["-C", "-d", "app"], role));
    assert!(has("pg_dumpall", &["--globals-only"], role));
}

#[test]
fn a_role_that_takes_backups_bypasses_row_level_security() {
    let (cluster, mut client) = app(&[]);
    let token = issue(&mut client, "alice");
    let blocks = blocks("Backup and restore");
    let [role, dump] = &blocks[..2] else {
        panic!("a role, and a dump by it")
    };
    assert!(role.starts_with("CREATE ROLE backup"));
    sql(&cluster, "app", "role", &role.replace(" BYPASSRLS", ""));
    let (succeeded, said) = shell(&cluster, dump);
    assert!(!succeeded && said.contains("row-level security"), "{said}");
    client
        .batch_execute("DROP ROLE backup")
        .expect("a superuser may");
    sql(&cluster, "app", "role", role);
    let (succeeded, said) = shell(&cluster, dump);
    assert!(succeeded, "{said}");
    let (succeeded, said) = shell(
        &cluster,
        "createdb restored; pg_restore -e -d restored app.dump",
    );
    assert!(succeeded, "{said}");
    let mut restored = cluster.connect("restored", "postgres");
    let rotated = rotate(&mut restored, token.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
}

#[test]
fn a_database_moves_by_logical_replication() {
    let (old, mut client) = app(&["wal_level = logical"]);
    let (new, mut copy) = app(&["wal_level = logical"]);
    copy.batch_execute("DROP EXTENSION refresh_tokens")
        .expect("a superuser may");
    let mut tokens: Vec<_> = (0..5)
        .map(|n| issue(&mut client, &format!("user {n}")).token().to_owned())
        .collect();
    client
        .batch_execute("SELECT auth.rotate_signing_key()")
        .expect("a key");
    let blocks = blocks("Logical replication");
    let [publish, subscribe, is_complete, switch] = &blocks[..] else {
        panic!("four steps: {blocks:?}")
    };
    sql(&old, "app", "publish", publish);
    let host = format!("host={}", old.socket().display());
    assert!(subscribe.contains("host=old dbname=app user=replicator"));
    sql(
        &new,
        "app",
        "subscribe",
        &subscribe.replace("host=old", &host),
    );
    let count = "SELECT count(*)::text FROM auth.sessions";
    wait_until("the rows that were there are copied", || {
        line(&mut copy, count) == "5"
    });
    let mut present = |client: &mut Client| {
        for token in &mut tokens {
            let grant = rotate(client, token).expect("a verdict");
            assert_eq!(grant.status, "rotated");
            grant.token().clone_into(token);
        }
    };
    present(&mut client);
    client
        .batch_execute("SELECT auth.revoke_session(id) FROM auth.sessions WHERE user_id = 'user 4'")
        .expect("a logout, which is an event");
    wait_until("the new server has everything", || {
        client.query_one(is_complete, &[]).expect("a slot").get(0)
    });
    // Without the switch-over's setval, the doctor says what would come.
    const FINDINGS: &str = "SELECT string_agg(finding, '; ') FROM auth.check_refresh_tokens() WHERE severity = 'error'";
    assert_eq!(
        line(&mut copy, FINDINGS),
        "sequence auth.refresh_tokens_id_seq is behind the ids of auth.refresh_tokens: calls fail with 23505; \
         sequence auth.refresh_token_events_id_seq is behind the ids of auth.refresh_token_events: calls fail with 23505"
    );
    let login = copy.execute("SELECT auth.issue_refresh_token('alice')", &[]);
    assert_eq!(error_code(login), "23505");
    assert_eq!(
        line(&mut copy, "SELECT count(*)::text FROM auth.signing_keys"),
        "0"
    );
    sql(&new, "app", "switch", switch);
    assert_eq!(line(&mut copy, FINDINGS), "");
    tokens.pop();
    for token in &tokens {
        let grant = rotate(&mut copy, token).expect("a verdict");
        assert_eq!(grant.status, "rotated");
    }
    assert_eq!(issue(&mut copy, "alice").status, "issued");
    assert_invariants(&mut copy);
}

/// Why the recipe has BYPASSRLS.
#[test]
fn without_bypassing_row_level_security_the_first_copy_is_empty() {
    let (old, mut client) = app(&["wal_level = logical"]);
    let (new, mut copy) = app(&["wal_level = logical"]);
    issue(&mut client, "alice");
    let blocks = blocks("Logical replication");
    sql(&old, "app", "publish", &blocks[0].replace(" BYPASSRLS", ""));
    let host = format!("host={}", old.socket().display());
    let subscribe = blocks[1].replace("host=old", &host);
    let (_, subscribe) = subscribe.split_once('\n').expect("two statements");
    sql(&new, "app", "subscribe", subscribe);
    wait_until("it is ready", || {
        let sql = "SELECT bool_and(srsubstate = 'r')::text FROM pg_subscription_rel";
        line(&mut copy, sql) == "true"
    });
    assert_eq!(
        line(&mut copy, "SELECT count(*)::text FROM auth.sessions"),
        "0"
    );
}

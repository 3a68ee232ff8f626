//! `auth.check_refresh_tokens()`: it says nothing of a healthy database, and of each thing that will hurt exactly that.

use postgres::Client;
use refresh_tokens_tests::{Cluster, Database, issue, pass_time, revoke, rotate};
use std::sync::Arc;

/// What it finds: severity and finding.
fn findings(client: &mut Client) -> Vec<String> {
    let sql = "SELECT severity || ': ' || finding FROM auth.check_refresh_tokens()";
    let rows = client.query(sql, &[]).expect("an operator may call it");
    rows.iter().map(|row| row.get(0)).collect()
}

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql}\n{done:?}");
}

const NOTHING: [&str; 0] = [];

#[test]
fn it_says_nothing_of_a_healthy_database() {
    let cluster = Arc::new(Cluster::start(&[
        "shared_preload_libraries = 'refresh_tokens'",
        "refresh_tokens.purge_interval = '1 h'",
        "refresh_tokens.purge_databases = 'test_0'",
    ]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    assert_eq!(findings(&mut client), NOTHING, "as it is installed");
    execute(
        &mut client,
        "CREATE ROLE owner NOLOGIN;
         CREATE ROLE authenticator LOGIN NOINHERIT;
         SELECT auth.set_refresh_token_owner('owner');
         ALTER DATABASE test_0 SET refresh_tokens.session_lifetime = '90 d';
         ALTER DATABASE test_0 SET refresh_tokens.access_token_hook = 'public.hook';
         ALTER ROLE authenticator SET refresh_tokens.lost_response_interval = '1 d';
         CREATE TABLE devices (session_id uuid PRIMARY KEY REFERENCES auth.sessions ON DELETE CASCADE, name text);
         CREATE PUBLICATION sessions FOR TABLE auth.sessions, auth.refresh_tokens, auth.refresh_token_events;
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO authenticator;
         ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES FOR ROLE authenticator GRANT ALL ON TABLES TO PUBLIC;
         SELECT auth.rotate_signing_key()",
    );
    for tier in ["gateway", "client", "user", "server", "operator"] {
        let role = format!("CREATE ROLE of_{tier} LOGIN; GRANT of_{tier} TO authenticator;");
        let grant = format!("SELECT auth.grant_refresh_token_role('of_{tier}', '{tier}')");
        execute(&mut client, &(role + &grant));
    }
    // A session that goes on, one that ended and is kept, and what purge leaves: a live token's parent.
    let kept = issue(&mut client, "alice");
    execute(
        &mut client,
        "SET refresh_tokens.idle_timeout = 0; SET refresh_tokens.session_lifetime = 0",
    );
    rotate(&mut client, kept.token()).expect("a verdict");
    pass_time(&mut client, kept.session(), "300 days");
    let ended = issue(&mut client, "bob");
    revoke(&mut client, &ended);
    assert_eq!(findings(&mut client), NOTHING);
    let mut operator = database.connect_as("of_operator");
    assert_eq!(findings(&mut operator), NOTHING, "as an operator sees it");
    execute(&mut operator, "SET default_transaction_read_only = on");
    assert_eq!(findings(&mut operator), NOTHING, "it only reads");
}

/// What is done to a healthy database, and what it says then. `{db}` is the database, and the beginning of a role's name.
const FINDINGS: [(&str, &str); 19] = [
    (
        "ALTER TABLE auth.sessions ADD COLUMN device text",
        "error: auth.sessions has a column of your own, device: no dump of this database can be restored, every session is lost",
    ),
    (
        "ALTER TABLE auth.refresh_tokens ADD COLUMN \"De vice\" text; ALTER TABLE auth.refresh_tokens DROP COLUMN \"De vice\";
         ALTER TABLE auth.refresh_token_events ADD COLUMN \"De vice\" text",
        "error: auth.refresh_token_events has a column of your own, \"De vice\": no dump of this database can be restored, every session is lost",
    ),
    (
        "CREATE TRIGGER own BEFORE UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "warning: trigger own on table auth.sessions is your own: no dump has it",
    ),
    (
        "ALTER TABLE auth.sessions ADD CONSTRAINT own CHECK (user_id <> '')",
        "warning: constraint own on table auth.sessions is your own: no dump has it",
    ),
    (
        "CREATE TABLE users (id varchar(255) PRIMARY KEY);
         ALTER TABLE auth.sessions ADD CONSTRAINT own FOREIGN KEY (user_id) REFERENCES users",
        "warning: constraint own on table auth.sessions is your own: no dump has it",
    ),
    (
        "ALTER TABLE auth.refresh_tokens ADD CONSTRAINT own UNIQUE (id, token)",
        "warning: constraint own on table auth.refresh_tokens is your own: no dump has it",
    ),
    (
        "CREATE INDEX own ON auth.sessions (tag)",
        "warning: index auth.own is your own: no dump has it",
    ),
    (
        "CREATE POLICY own ON auth.sessions USING (true)",
        "warning: policy own on table auth.sessions is your own: no dump has it",
    ),
    (
        "CREATE STATISTICS own ON user_id, tag FROM auth.sessions",
        "warning: statistics object public.own is your own: no dump has it",
    ),
    (
        "CREATE ROLE {db}_other; ALTER TABLE auth.signing_keys OWNER TO {db}_other",
        "error: table auth.signing_keys belongs to role {db}_other, and the functions belong to role postgres",
    ),
    (
        "CREATE ROLE {db}_other; GRANT CREATE ON SCHEMA auth TO {db}_other",
        "error: role {db}_other may create objects in schema auth: an upgrade is refused",
    ),
    (
        "CREATE ROLE {db}_other; ALTER SCHEMA auth OWNER TO {db}_other",
        "error: schema auth belongs to role {db}_other, who is no superuser: an upgrade is refused",
    ),
    (
        "ALTER TABLE auth.sessions DISABLE ROW LEVEL SECURITY",
        "error: row level security is off on auth.sessions",
    ),
    (
        "CREATE ROLE {db}_owner; SELECT auth.set_refresh_token_owner('{db}_owner');
         ALTER TABLE auth.refresh_tokens FORCE ROW LEVEL SECURITY",
        "error: row level security is forced on auth.refresh_tokens: the functions see no row of it",
    ),
    (
        "SET client_min_messages = error; CREATE PUBLICATION everything FOR TABLES IN SCHEMA auth",
        "error: publication everything takes auth.signing_keys along: subscribers get the keys that sign access tokens",
    ),
    (
        "SELECT auth.issue_refresh_token('alice'); SELECT setval('auth.refresh_tokens_id_seq', 1, false)",
        "error: sequence auth.refresh_tokens_id_seq is behind the ids of auth.refresh_tokens: calls fail with 23505",
    ),
    (
        "INSERT INTO auth.refresh_token_events (id, event) VALUES (7, 'issued')",
        "error: sequence auth.refresh_token_events_id_seq is behind the ids of auth.refresh_token_events: calls fail with 23505",
    ),
    (
        "CREATE ROLE {db}_other; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {db}_other",
        "notice: default privileges grant role {db}_other rights on what role postgres creates in schema auth: on tables",
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA auth GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "notice: default privileges grant PUBLIC rights on what role postgres creates in schema auth: on routines",
    ),
];

#[test]
fn it_says_what_will_hurt_and_nothing_else() {
    for (cause, finding) in FINDINGS {
        let database = Database::create();
        let mut client = database.connect();
        let named = |text: &str| text.replace("{db}", &database.name);
        execute(&mut client, &named(cause));
        assert_eq!(findings(&mut client), [named(finding)], "{cause}");
        // Advice that is a statement helps.
        let advice = "SELECT advice FROM auth.check_refresh_tokens()";
        let advice: String = client.query_one(advice, &[]).expect("a row").get(0);
        if let Some((statement, _)) = advice.split_once(';') {
            execute(&mut client, statement);
            assert_eq!(findings(&mut client), NOTHING, "{statement}");
        }
    }
}

/// What is stored where the library is not loaded: docs/operations.md says to `LOAD` it before.
#[test]
fn it_says_which_settings_are_stored_and_not_in_force() {
    let database = Database::create();
    let other = Database::create();
    let name = &database.name;
    let set = |setting: &str| format!("ALTER DATABASE {name} SET refresh_tokens.{setting}");
    let mistakes = [
        "reuse_interval = 'banana'",
        "Idle_Timeout = '-1'",
        "sesion_lifetime = '1 d'",
        "purge_interval = 60",
    ];
    let mut client = other.connect();
    for mistake in mistakes {
        execute(&mut client, &set(mistake));
    }
    execute(
        &mut client,
        &format!(
            "ALTER DATABASE {name} SET refresh_tokens.retention = '60 d';
             CREATE ROLE {name}_app LOGIN;
             ALTER ROLE {name}_app IN DATABASE {name} SET refresh_tokens.events = 'nothing'"
        ),
    );
    assert_eq!(findings(&mut client), NOTHING, "in another database");
    let expected = [
        format!("refresh_tokens.events = 'nothing' is set for ROLE {name}_app IN DATABASE {name}, and is no value of it: another one is in force"),
        format!("refresh_tokens.idle_timeout = '-1' is set for DATABASE {name}, and is no value of it: another one is in force"),
        format!("refresh_tokens.purge_interval is set for DATABASE {name}, and only postgresql.conf can set it"),
        format!("refresh_tokens.reuse_interval = 'banana' is set for DATABASE {name}, and is no value of it: another one is in force"),
        format!("refresh_tokens.sesion_lifetime is set for DATABASE {name}, and there is no such setting"),
    ]
    .map(|finding| format!("warning: {finding}"));
    let mut client = database.connect();
    assert_eq!(findings(&mut client), expected);
    let in_force = "SELECT current_setting('refresh_tokens.reuse_interval') || ' ' || current_setting('refresh_tokens.retention')";
    let in_force: String = client.query_one(in_force, &[]).expect("settings").get(0);
    assert_eq!(in_force, "10s 60d");

    // With the library loaded, each of them is refused.
    let mut client = other.connect();
    execute(&mut client, "LOAD 'refresh_tokens'");
    for mistake in mistakes {
        assert!(client.batch_execute(&set(mistake)).is_err(), "{mistake}");
    }
    // The advice, in a new connection.
    let mut client = other.connect();
    for setting in ["sesion_lifetime", "purge_interval"] {
        let reset = format!("ALTER DATABASE {name} RESET refresh_tokens.{setting}");
        execute(&mut client, &reset);
    }
    execute(&mut client, "LOAD 'refresh_tokens'");
    execute(
        &mut client,
        &format!(
            "ALTER DATABASE {name} SET refresh_tokens.reuse_interval = '5 s';
             ALTER DATABASE {name} SET refresh_tokens.idle_timeout = '1 d';
             ALTER ROLE {name}_app IN DATABASE {name} SET refresh_tokens.events = 'none'"
        ),
    );
    assert_eq!(findings(&mut database.connect()), NOTHING);
}

/// PostgREST applies the settings of the role that it switches to if the role that it logs in as may set them, and the
/// library is preloaded.
#[test]
fn it_says_which_settings_of_a_role_never_apply() {
    let cluster = Cluster::start(&["shared_preload_libraries = 'refresh_tokens'"]);
    let database = Database::create_in(&Arc::new(cluster));
    let name = &database.name;
    let mut client = database.connect();
    execute(
        &mut client,
        &format!(
            "CREATE ROLE {name}_anon NOLOGIN;
             CREATE ROLE {name}_authenticator LOGIN NOINHERIT;
             GRANT {name}_anon TO {name}_authenticator;
             ALTER ROLE {name}_anon IN DATABASE {name} SET refresh_tokens.lost_response_interval = '1 d'"
        ),
    );
    let expected = format!(
        "warning: refresh_tokens.lost_response_interval is set for role {name}_anon, which does not log in: it is not applied"
    );
    assert_eq!(findings(&mut client), [expected.as_str()]);
    let grant = format!(
        "GRANT SET ON PARAMETER refresh_tokens.lost_response_interval TO {name}_authenticator"
    );
    execute(&mut client, &grant);
    assert_eq!(findings(&mut client), NOTHING);
    database
        .cluster()
        .configure(&["shared_preload_libraries = ''"]);
    database.cluster().stop("fast");
    database.cluster().boot();
    assert_eq!(findings(&mut database.connect()), [expected]);
}

#[test]
fn it_says_when_nothing_purges() {
    const NOBODY: [&str; 1] = [
        "warning: nobody purges: tokens, sessions or events are there that should have been deleted more than a week ago",
    ];
    // A session that ended, the old tokens of one that goes on, an event: each alone is enough.
    for what in ["session", "token", "event"] {
        let database = Database::create();
        let mut client = database.connect();
        let token = issue(&mut client, "alice");
        let age = |client: &mut Client, days: u32| {
            match what {
            "event" => execute(
                client,
                &format!(
                    "DELETE FROM auth.refresh_token_events;
                     INSERT INTO auth.refresh_token_events (occurred_at, event) VALUES (now() - '{days} d'::interval, 'issued')"
                ),
            ),
            _ => pass_time(client, token.session(), &format!("{days} d")),
        }
        };
        match what {
            "session" => drop(revoke(&mut client, &token)),
            "token" => {
                let parent = rotate(&mut client, token.token()).expect("a verdict");
                rotate(&mut client, parent.token()).expect("a verdict");
            }
            _ => {}
        }
        let kept = if what == "event" { 90 } else { 30 };
        age(&mut client, kept + 6);
        assert_eq!(findings(&mut client), NOTHING, "{what}");
        age(&mut client, if what == "event" { kept + 8 } else { 2 });
        assert_eq!(findings(&mut client), NOBODY, "{what}");
        // For ever is for ever.
        execute(
            &mut client,
            "SET refresh_tokens.retention = 0; SET refresh_tokens.event_retention = 0",
        );
        assert_eq!(findings(&mut client), NOTHING, "{what}");
        execute(
            &mut client,
            "RESET refresh_tokens.retention; RESET refresh_tokens.event_retention",
        );
        execute(&mut client, "CALL auth.purge_all()");
        assert_eq!(findings(&mut client), NOTHING, "{what}");
    }
}

#[test]
fn it_says_that_the_worker_is_not_there() {
    let cluster = Arc::new(Cluster::start(&["refresh_tokens.purge_interval = '1 h'"]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    assert_eq!(
        findings(&mut client),
        [
            "warning: refresh_tokens.purge_interval is set, and there is no background worker: the library is not preloaded"
        ]
    );
    // In the file nobody looks at a name or value before the library is loaded either.
    cluster.configure(&[
        "shared_preload_libraries = 'refresh_tokens'",
        "refresh_tokens.retention = 'banana'",
        "refresh_tokens.nonsense = 1",
    ]);
    cluster.stop("fast");
    cluster.boot();
    let file = cluster.data().join("postgresql.auto.conf");
    let file = file.display();
    assert_eq!(
        findings(&mut database.connect()),
        [
            format!(
                "warning: refresh_tokens.nonsense is set in {file}, and there is no such setting"
            ),
            format!(
                "warning: refresh_tokens.retention is set in {file} to a value that it does not have: another one is in force"
            ),
        ]
    );
}

#[test]
fn it_says_that_a_key_is_old_and_that_events_have_no_statistics() {
    let database = Database::create();
    let mut client = database.connect();
    execute(
        &mut client,
        "ALTER TABLE auth.refresh_token_events SET (autovacuum_enabled = off);
         SELECT auth.rotate_signing_key();
         UPDATE auth.signing_keys SET active_at = now() - interval '400 d';
         INSERT INTO auth.refresh_token_events (event, token_id) SELECT 'issued', n FROM generate_series(1, 30000) AS n",
    );
    assert_eq!(
        findings(&mut client),
        [
            "notice: access tokens are signed with a key that has not been rotated for 400 days",
            "notice: auth.refresh_token_events has no statistics",
        ]
    );
    execute(
        &mut client,
        "SELECT auth.rotate_signing_key(); ANALYZE auth.refresh_token_events",
    );
    assert_eq!(findings(&mut client), NOTHING);
}

#[test]
fn it_says_that_no_worker_is_left_for_durable_verdicts() {
    for (workers, is_enough) in [(3, true), (2, false)] {
        // One is the launcher of logical replication.
        let setting = format!("max_worker_processes = {workers}");
        let cluster = Arc::new(Cluster::start(&[&setting]));
        let mut client = Database::create_in(&cluster).connect();
        let expected = (!is_enough).then_some("warning: there are no two free slots for the workers that make verdicts durable: a rollback of the caller may undo a detected reuse");
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(findings(&mut client), expected, "{workers}");
        execute(&mut client, "SET refresh_tokens.durable_reuse = off");
        assert_eq!(findings(&mut client), NOTHING);
    }
}

//! Whose limits: what some role's settings make live is purged by nobody, and is live for everybody who asks.

use postgres::Client;
use refresh_tokens_tests::{Cluster, Database, Grant, error_code, issue, pass_time, rotate};
use std::sync::Arc;
use uuid::Uuid;

/// A database with a server role of each name, whose settings in it are those given.
fn with_roles(roles: &[(&str, &str)]) -> Database {
    let database = Database::create();
    let mut client = database.connect();
    for (name, setting) in roles {
        let role = role(&database, name);
        let set = match *setting {
            "" => String::new(),
            setting => format!(
                "ALTER ROLE {role} IN DATABASE {} SET refresh_tokens.{setting}",
                database.name
            ),
        };
        client
            .batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; {set};
                 SELECT auth.grant_refresh_token_role('{role}', 'server'),
                        auth.grant_refresh_token_role('{role}', 'operator')"
            ))
            .expect("a superuser may");
    }
    database
}

fn role(database: &Database, name: &str) -> String {
    format!("{}_{name}", database.name)
}

fn connect(database: &Database, name: &str) -> Client {
    database.connect_as(&role(database, name))
}

fn value<T: for<'a> postgres::types::FromSql<'a>>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).expect("a value").get(0)
}

fn purge(client: &mut Client) -> i64 {
    value(client, "SELECT auth.purge_refresh_tokens()")
}

fn is_live(client: &mut Client, session: Uuid) -> bool {
    value(client, &format!("SELECT auth.is_session_live('{session}')"))
}

/// A session of `user` that nobody used for so long.
fn idle(client: &mut Client, user: &str, time: &str) -> Grant {
    let grant = issue(client, user);
    pass_time(client, grant.session(), time);
    grant
}

fn status(client: &mut Client, grant: &Grant) -> String {
    rotate(client, grant.token()).expect("a verdict").status
}

#[test]
fn what_another_roles_settings_make_live_is_not_purged() {
    let database = with_roles(&[("mobile", "idle_timeout = '180 d'"), ("web", "")]);
    let mut superuser = database.connect();
    for role in ["mobile", "web"] {
        superuser
            .batch_execute(&format!(
                "ALTER ROLE {} IN DATABASE {} SET refresh_tokens.session_lifetime = 0",
                self::role(&database, role),
                database.name
            ))
            .expect("a setting");
    }
    let (mut mobile, mut web) = (connect(&database, "mobile"), connect(&database, "web"));
    let kept = idle(&mut superuser, "alice", "170 days");
    let over = idle(&mut superuser, "bob", "211 days");
    for client in [&mut web, &mut superuser, &mut mobile] {
        assert!(is_live(client, kept.session()));
        assert!(!is_live(client, over.session()));
        let listed: i64 = value(client, "SELECT count(*) FROM auth.list_sessions('alice')");
        assert_eq!(listed, 1);
        let left: bool = value(
            client,
            "SELECT expires_at BETWEEN now() + '9 d' AND now() + '11 d' FROM auth.list_sessions('alice')",
        );
        assert!(left, "it ends when the last role refuses it");
        let figures: (i64, i64) = {
            let sql = "SELECT live_sessions, purgeable_tokens FROM auth.refresh_token_stats";
            let row = client.query_one(sql, &[]).expect("a row");
            (row.get(0), row.get(1))
        };
        assert_eq!(figures, (1, 1));
    }
    // By hand, and by whoever purges.
    assert_eq!(purge(&mut web), 2);
    web.batch_execute("CALL auth.purge_all()").expect("a purge");
    assert_eq!(purge(&mut superuser), 0);
    // Of the token that is presented, the caller's own settings decide.
    assert_eq!(status(&mut web, &kept), "expired");
    assert_eq!(status(&mut mobile, &kept), "rotated");
}

#[test]
fn the_most_lenient_counts_of_each_setting() {
    let database = with_roles(&[
        ("mobile", "idle_timeout = 0"),
        ("kiosk", "session_lifetime = '1 h'"),
        ("tv", "session_lifetime = '1000 d'"),
        ("audit", "retention = '1095 d'"),
    ]);
    let mut client = database.connect();
    let over = idle(&mut client, "alice", "2000 days");
    let live = idle(&mut client, "bob", "900 days");
    assert!(is_live(&mut client, live.session()));
    assert_eq!(
        purge(&mut client),
        0,
        "the evidence of alice's session is kept for one role"
    );
    pass_time(&mut client, over.session(), "100 days");
    assert_eq!(purge(&mut client), 2);
    assert!(is_live(&mut client, live.session()));
}

#[test]
fn for_ever_is_the_most_lenient_limit() {
    let database = with_roles(&[
        ("one", "idle_timeout = 0"),
        ("other", "session_lifetime = 0"),
        ("third", "idle_timeout = '1 min'"),
    ]);
    let mut client = database.connect();
    let live = idle(&mut client, "alice", "100 years");
    assert!(is_live(&mut client, live.session()));
    assert_eq!(purge(&mut client), 0);
    let sql =
        "SELECT expires_at IS NULL AND session_expires_at IS NULL FROM auth.list_sessions('alice')";
    assert!(value::<bool>(&mut client, sql));
}

#[test]
fn a_database_with_stricter_limits_is_purged_by_them() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {0} SET refresh_tokens.idle_timeout = '1 d';
             ALTER DATABASE {0} SET refresh_tokens.retention = '1 d'",
            database.name
        ))
        .expect("a setting");
    let mut client = database.connect();
    idle(&mut client, "alice", "3 days");
    assert_eq!(purge(&mut client), 2);
}

/// A purger whose own limits are stricter than the server's, which hold for every role without any.
#[test]
fn a_stricter_purger_heeds_what_the_server_has_set() {
    const CONF: [&str; 2] = [
        "refresh_tokens.idle_timeout = '180 d'",
        "refresh_tokens.session_lifetime = 0",
    ];
    let cluster = Arc::new(Cluster::start(&CONF));
    let database = Database::create_in(&cluster);
    let mut superuser = database.connect();
    superuser
        .batch_execute(
            "CREATE ROLE purger LOGIN; SELECT auth.grant_refresh_token_role('purger', 'operator');
             ALTER ROLE purger SET refresh_tokens.idle_timeout = '1 d';
             ALTER ROLE purger SET refresh_tokens.session_lifetime = '60 min'",
        )
        .expect("a superuser may");
    let live = idle(&mut superuser, "alice", "170 days");
    let mut purger = database.connect_as("purger");
    assert_eq!(purge(&mut purger), 0);
    // A value for everybody replaces the server's.
    superuser
        .batch_execute(&format!(
            "ALTER DATABASE {} SET refresh_tokens.idle_timeout = '10 d'",
            database.name
        ))
        .expect("a setting");
    assert_eq!(purge(&mut purger), 2);
    assert_eq!(status(&mut superuser, &live), "not_found");
}

/// Of another database, of another name, or no value that PostgreSQL would take.
#[test]
fn settings_that_hold_for_nobody_here_count_for_nothing() {
    let cluster = Arc::new(Cluster::start(&[]));
    let (database, other) = (Database::create_in(&cluster), Database::create_in(&cluster));
    let mut client = database.connect();
    let role = role(&database, "mobile");
    client
        .batch_execute(&format!(
            "CREATE ROLE {role};
             ALTER ROLE {role} IN DATABASE {} SET refresh_tokens.idle_timeout = 0;
             ALTER ROLE {role} SET refresh_tokens.lost_response_interval = '1000 d';
             ALTER ROLE {role} SET work_mem = '1 GB'",
            other.name
        ))
        .expect("a superuser may");
    // The role's own in this database comes before its own in all.
    client
        .batch_execute(&format!(
            "ALTER ROLE {role} SET refresh_tokens.session_lifetime = 0;
             ALTER ROLE {role} IN DATABASE {0} SET refresh_tokens.session_lifetime = '1 d';
             UPDATE pg_db_role_setting SET setconfig = setconfig || '{{refresh_tokens.idle_timeout=a while}}'
              WHERE setdatabase = 0",
            database.name
        ))
        .expect("a superuser may");
    let live = idle(&mut client, "alice", "61 days");
    assert!(!is_live(&mut client, live.session()));
    assert_eq!(purge(&mut client), 2);
}

#[test]
fn the_cap_counts_what_the_list_shows() {
    let database = with_roles(&[
        ("mobile", "idle_timeout = '60 d'"),
        ("web", "max_sessions_per_user = 2"),
    ]);
    let mut superuser = database.connect();
    let old = idle(&mut superuser, "alice", "20 days");
    let (mut web, mut mobile) = (connect(&database, "web"), connect(&database, "mobile"));
    let new = issue(&mut web, "alice");
    assert!(is_live(&mut web, old.session()));
    issue(&mut web, "alice");
    assert!(
        !is_live(&mut web, old.session()),
        "it is the one that was refreshed longest ago"
    );
    assert!(is_live(&mut web, new.session()));
    assert_eq!(status(&mut mobile, &old), "revoked");
}

#[test]
fn a_statement_asks_once_and_the_next_one_asks_again() {
    let database = with_roles(&[("mobile", "")]);
    let mut client = database.connect();
    let session = idle(&mut client, "alice", "20 days").session();
    assert!(!is_live(&mut client, session));
    client
        .batch_execute(&format!(
            "ALTER ROLE {} IN DATABASE {} SET refresh_tokens.idle_timeout = '21 d'",
            role(&database, "mobile"),
            database.name
        ))
        .expect("a setting");
    assert!(is_live(&mut client, session));
}

#[test]
fn a_limit_that_postgresql_refuses_can_not_be_set() {
    let database = with_roles(&[("mobile", "")]);
    let mut client = database.connect();
    let set = format!(
        "ALTER ROLE {} SET refresh_tokens.idle_timeout = 'a while'",
        role(&database, "mobile")
    );
    issue(&mut client, "alice");
    assert_eq!(error_code(client.batch_execute(&set)), "22023");
}

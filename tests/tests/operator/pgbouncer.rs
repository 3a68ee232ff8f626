//! Through PgBouncer in transaction mode: few connections to the server, shared by many clients, each
//! transaction on any of them.
//!
//! Statements are sent unnamed (`query_typed`), as the drivers do that are told not to prepare: only
//! PgBouncer 1.21 and later know named ones in this mode.

use postgres::types::Type;
use postgres::{Client, Error, GenericClient};
use refresh_tokens_tests::{
    Cluster, Database, PgBouncer, assert_invariants, backend_pid, wait_until,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

const CLIENTS: usize = 8;
const POOL_SIZE: usize = 2;

/// A server with a pooler in front of it, and in its database the role `app` of the tier `server`.
struct Pooled {
    pooler: PgBouncer,
    database: Database,
}

impl Pooled {
    fn start() -> Self {
        let cluster = Arc::new(Cluster::start(&[]));
        let database = Database::create_in(&cluster);
        database
            .connect()
            .batch_execute(
                "CREATE ROLE app LOGIN; SELECT auth.grant_refresh_token_role('app', 'server')",
            )
            .expect("a grant");
        Self {
            pooler: PgBouncer::start(&cluster, POOL_SIZE, &["app"]),
            database,
        }
    }

    fn connect(&self) -> Client {
        self.pooler.connect(&self.database.name, "app")
    }
}

/// A status and a token.
type Answer = (String, Option<String>);

fn issue(client: &mut impl GenericClient, user: &str) -> String {
    const SQL: &str = "SELECT refresh_token FROM auth.issue_refresh_token($1)";
    let row = client
        .query_typed(SQL, &[(&user, Type::TEXT)])
        .expect("a login");
    row[0].get(0)
}

fn rotate(client: &mut impl GenericClient, token: &str) -> Result<Answer, Error> {
    const SQL: &str = "SELECT status::text, refresh_token FROM auth.rotate_refresh_token($1)";
    let rows = client.query_typed(SQL, &[(&token, Type::TEXT)])?;
    Ok((rows[0].get(0), rows[0].get(1)))
}

#[test]
fn many_clients_on_few_connections_rotate_and_race() {
    let pooled = Pooled::start();
    let shared = issue(&mut pooled.connect(), "shared");
    let pids: BTreeSet<i32> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (pooled, shared) = (&pooled, &shared);
                scope.spawn(move || {
                    let mut client = pooled.connect();
                    let mut pids = BTreeSet::new();
                    let mut token = issue(&mut client, &format!("user {number}"));
                    for _ in 0..50 {
                        let (status, child) = rotate(&mut client, &token).expect("a verdict");
                        assert_eq!(status, "rotated");
                        token = child.expect("a child");
                        pids.insert(server_pid(&mut client));
                    }
                    let (status, child) = rotate(&mut client, shared).expect("a verdict");
                    assert!(
                        ["rotated", "retried"].contains(&status.as_str()),
                        "{status}"
                    );
                    (pids, child)
                })
            })
            .collect();
        let (pids, children): (Vec<_>, BTreeSet<_>) = clients
            .into_iter()
            .map(|client| client.join().expect("a client"))
            .unzip();
        assert_eq!(children.len(), 1, "one token has one child");
        pids.into_iter().flatten().collect()
    });
    // Otherwise this was no test of a pooler.
    assert!(pids.len() <= POOL_SIZE, "{pids:?}");
    assert_invariants(&mut pooled.database.connect());
}

fn server_pid(client: &mut Client) -> i32 {
    client
        .query_typed("SELECT pg_backend_pid()", &[])
        .expect("an answer")[0]
        .get(0)
}

#[test]
fn a_client_that_leaves_in_the_middle_has_rotated_nothing() {
    let pooled = Pooled::start();
    let token = issue(&mut pooled.connect(), "alice");
    let mut client = pooled.connect();
    let mut transaction = client.transaction().expect("a transaction");
    let (status, _) = rotate(&mut transaction, &token).expect("a verdict");
    assert_eq!(status, "rotated");
    // Gone without a word: dropping the transaction would end it in order.
    std::mem::forget(transaction);
    drop(client);
    let mut owner = pooled.database.connect();
    wait_until("the pooler has closed the connection", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle in transaction'";
        owner
            .query_one(sql, &[])
            .expect("an answer")
            .get::<_, i64>(0)
            == 0
    });
    let (status, _) = rotate(&mut pooled.connect(), &token).expect("a verdict");
    assert_eq!(status, "rotated");
    assert_invariants(&mut owner);
}

/// The pooler's connections to the server are those of the client's role: what is set for it holds.
#[test]
fn settings_of_the_role_apply_behind_the_pooler() {
    let pooled = Pooled::start();
    let mut owner = pooled.database.connect();
    owner
        .batch_execute("ALTER ROLE app SET refresh_tokens.reuse_interval = 0")
        .expect("a setting");
    let mut client = pooled.connect();
    let token = issue(&mut client, "alice");
    assert_eq!(rotate(&mut client, &token).expect("a verdict").0, "rotated");
    assert_eq!(
        rotate(&mut client, &token).expect("a verdict").0,
        "reuse_detected"
    );
    assert_ne!(server_pid(&mut client), backend_pid(&mut owner));
}

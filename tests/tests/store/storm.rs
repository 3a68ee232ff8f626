//! Rotations while the tables are rebuilt under them, and while another cluster follows them.

use postgres::Client;
use refresh_tokens_tests::{
    Cluster, Database, assert_indexes, assert_invariants, issue, rotate, wait_until,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What an operator does to the tables in a day; each is a transaction of its own.
const STORM: [&str; 26] = [
    "CREATE INDEX CONCURRENTLY more_tokens ON auth.refresh_tokens (user_id, updated_at)",
    "CREATE INDEX CONCURRENTLY more_sessions ON auth.sessions (refreshed_at)",
    "REINDEX INDEX CONCURRENTLY auth.refresh_tokens_token_unique",
    "REINDEX TABLE CONCURRENTLY auth.sessions",
    "ALTER TABLE auth.sessions ADD COLUMN device text",
    "ALTER TABLE auth.sessions ADD COLUMN region uuid DEFAULT gen_random_uuid()",
    "VACUUM FULL auth.refresh_tokens",
    "CREATE TRIGGER same BEFORE UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE PUBLICATION tokens FOR TABLE auth.refresh_tokens, auth.sessions",
    "CLUSTER auth.sessions USING sessions_pkey",
    "ALTER TABLE auth.sessions DROP COLUMN device",
    "DROP TRIGGER same ON auth.sessions",
    "REINDEX TABLE CONCURRENTLY auth.refresh_tokens",
    "CREATE UNIQUE INDEX CONCURRENTLY one_live ON auth.refresh_tokens (session_id) WHERE NOT revoked",
    "DROP PUBLICATION tokens",
    "VACUUM FULL auth.sessions",
    "ALTER TABLE auth.sessions ADD CONSTRAINT positive CHECK (refresh_token_counter >= 0)",
    "DROP INDEX CONCURRENTLY auth.more_tokens",
    "CLUSTER auth.refresh_tokens USING refresh_tokens_pkey",
    "ALTER TABLE auth.sessions DROP COLUMN region",
    "REINDEX INDEX CONCURRENTLY auth.sessions_pkey",
    "DROP INDEX CONCURRENTLY auth.more_sessions",
    "ALTER TABLE auth.sessions DROP CONSTRAINT positive",
    "DROP INDEX CONCURRENTLY auth.one_live",
    "REINDEX TABLE auth.refresh_tokens",
    "VACUUM (FREEZE, ANALYZE) auth.sessions",
];

/// Rotates the tokens of some sessions till `is_over`; how often it did.
fn rotate_till(is_over: &AtomicBool, client: &mut Client, number: usize) -> usize {
    let mut tokens: Vec<_> = (0..5)
        .map(|n| {
            issue(client, &format!("user {number} {n}"))
                .token()
                .to_owned()
        })
        .collect();
    let mut rotations = 0;
    while !is_over.load(Ordering::Relaxed) {
        for token in &mut tokens {
            let grant = rotate(client, token).expect("no error");
            assert_eq!(grant.status, "rotated");
            grant.token().clone_into(token);
            rotations += 1;
        }
    }
    rotations
}

#[test]
fn a_storm_of_ddl_beside_rotations_leaves_sound_tables() {
    let database = Database::create();
    let is_over = AtomicBool::new(false);
    let mut clients: Vec<_> = (0..4).map(|_| database.connect()).collect();
    let client = &mut database.connect();
    thread::scope(|scope| {
        let threads: Vec<_> = (clients.iter_mut().enumerate())
            .map(|(number, client)| {
                let is_over = &is_over;
                scope.spawn(move || rotate_till(is_over, client, number))
            })
            .collect();
        let storm = STORM.iter().chain(&STORM);
        let failed: Vec<_> = storm
            .filter_map(|sql| Some((sql, client.batch_execute(sql).err()?)))
            .collect();
        is_over.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().expect("no error") > 0);
        }
        assert!(failed.is_empty(), "{failed:?}");
    });
    assert_invariants(client);
    assert_indexes(client);
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    let invalid: i64 = client.query_one(invalid, &[]).expect("a number").get(0);
    assert_eq!(invalid, 0);
}

/// Both tables, without where their rows lie.
const ROWS: &str = "SELECT format('session %s', s) FROM auth.sessions s
                     UNION ALL SELECT format('token %s', t) FROM auth.refresh_tokens t ORDER BY 1";

fn rows(client: &mut Client) -> Vec<String> {
    let rows = client.query(ROWS, &[]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_subscriber_ends_with_the_same_rows() {
    let publisher = Arc::new(Cluster::start(&["wal_level = logical"]));
    let subscriber = Arc::new(Cluster::start(&["wal_level = logical"]));
    let (from, to) = (
        Database::create_in(&publisher),
        Database::create_in(&subscriber),
    );
    let (client, copy) = (&mut from.connect(), &mut to.connect());
    let before = issue(client, "alice").token().to_owned();
    client
        .batch_execute("CREATE PUBLICATION auth FOR TABLE auth.refresh_tokens, auth.sessions")
        .expect("a superuser may");
    let subscribe = format!(
        "CREATE SUBSCRIPTION auth CONNECTION 'host={} dbname={} user=postgres' PUBLICATION auth",
        publisher.socket().display(),
        from.name
    );
    copy.batch_execute(&subscribe).expect("a subscription");
    let mut tokens = vec![before];
    for round in 0..20 {
        tokens.push(issue(client, &format!("user {round}")).token().to_owned());
        for token in &mut tokens {
            let grant = rotate(client, token).expect("a verdict");
            assert_eq!(grant.status, "rotated");
            grant.token().clone_into(token);
        }
        if round % 4 == 3 {
            let token = tokens.swap_remove(round / 4);
            let sql = "SELECT auth.revoke_refresh_token($1)";
            client.execute(sql, &[&token]).expect("a logout");
        }
    }
    let expected = rows(client);
    assert!(expected.len() > 200);
    wait_until("the subscriber has caught up", || rows(copy) == expected);
    assert_invariants(copy);
    assert_indexes(copy);
    // a switch-over: the sequence is not replicated
    for sql in [
        "DROP SUBSCRIPTION auth",
        "SELECT setval('auth.refresh_tokens_id_seq', (SELECT max(id) FROM auth.refresh_tokens))",
    ] {
        copy.batch_execute(sql).expect("a superuser may");
    }
    for token in &tokens {
        assert_eq!(rotate(copy, token).expect("a verdict").status, "rotated");
    }
    assert_invariants(copy);
}

//! What a caller can make costly is bounded: a retry from far behind, logins by the thousand, signing keys from many
//! connections, one stale token again and again.

use postgres::Client;
use refresh_tokens_tests::{Cluster, Database, Racers, issue, pass_time, rotate};
use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql:.300}\n{done:?}");
}

/// As many generations as a retry is followed, in a session that goes on: each digest of the way is looked up once, by
/// the index of the tokens. To go through the session's rows for each would read them sixteen million times.
#[test]
fn a_retry_from_far_behind_looks_up_each_generation_once() {
    const GENERATIONS: i64 = 4096;
    /// What else a call looks up: the token that was presented, its session, the live token.
    const OTHERS: i64 = 20;
    const LOOKUPS: &str = "
        SELECT i.idx_scan, t.idx_tup_fetch + t.seq_tup_read
          FROM pg_stat_user_indexes AS i JOIN pg_stat_user_tables AS t USING (relid)
         WHERE i.indexrelid = 'auth.refresh_tokens_token_unique'::regclass";
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, "SET refresh_tokens.reuse_interval = '1 h'");
    let first = issue(&mut client, "alice");
    let mut token = first.token().to_owned();
    for _ in 0..GENERATIONS {
        let child = rotate(&mut client, &token).expect("a verdict");
        token = child.token().to_owned();
    }
    let counts = |client: &mut Client| -> (i64, i64) {
        // What the backend has counted is handed over at the end of this statement.
        execute(client, "SELECT pg_stat_force_next_flush()");
        let row = client.query_one(LOOKUPS, &[]).expect("statistics");
        (row.get(0), row.get(1))
    };
    for statistics in ["SELECT", "ANALYZE auth.refresh_tokens"] {
        execute(&mut client, statistics);
        let before = counts(&mut client);
        let retried = rotate(&mut client, first.token()).expect("a verdict");
        assert_eq!(
            (retried.status.as_str(), retried.token()),
            ("retried", token.as_str())
        );
        let after = counts(&mut client);
        let (lookups, rows) = (after.0 - before.0, after.1 - before.1);
        let once = GENERATIONS - OTHERS..=GENERATIONS + OTHERS;
        assert!(once.contains(&lookups), "{statistics}: {lookups} look-ups");
        assert!(rows <= GENERATIONS + OTHERS, "{statistics}: {rows} rows");
    }
}

/// Thousands of logins in one transaction, where the number of sessions is limited, hold a bounded number of locks.
#[test]
fn logins_by_the_thousand_do_not_fill_the_lock_table() {
    const LOGINS: i64 = 4_000;
    let cluster = Arc::new(Cluster::start(&["max_locks_per_transaction = 10"]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    execute(&mut client, "SET refresh_tokens.max_sessions_per_user = 5");
    let sql = format!(
        "SELECT count(g.status) FROM generate_series(1, {LOGINS}) AS n, auth.issue_refresh_token('user ' || n) AS g"
    );
    execute(&mut client, "BEGIN");
    let logins: i64 = client.query_one(&sql, &[]).expect("logins").get(0);
    assert_eq!(logins, LOGINS);
    let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND pid = pg_backend_pid()";
    let locks: i64 = client.query_one(sql, &[]).expect("locks").get(0);
    assert!((1..=1024).contains(&locks), "{locks}");
    execute(&mut client, "COMMIT");
}

/// A key that was returned signs or verifies for its day, however many connections rotate keys.
#[test]
fn no_signing_key_that_was_returned_is_deleted_by_another_rotation() {
    let database = Database::create();
    let mut racers = Racers::new(&database, 4);
    let returned = racers.at_once(|_, client| -> Vec<String> {
        let mut rotate = || {
            let row = client.query_one("SELECT auth.rotate_signing_key()::text", &[]);
            row.expect("a key").get(0)
        };
        (0..60).map(|_| rotate()).collect()
    });
    let rows = database
        .connect()
        .query(
            "SELECT k->>'kid' FROM jsonb_array_elements(auth.jwks()->'keys') AS k",
            &[],
        )
        .expect("the keys that verify");
    let verifying: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = returned
        .iter()
        .flatten()
        .filter(|kid| !verifying.contains(*kid))
        .collect();
    assert!(lost.is_empty(), "{} of 240 are gone", lost.len());
}

/// One stale token, presented again and again, is a line of the log once a minute, whether events are recorded or
/// not, whether the reuse is revoked or only rejected, and whoever presents it.
#[test]
fn a_stale_token_again_and_again_is_one_line_of_the_log() {
    for settings in [
        "SET refresh_tokens.reuse_action = 'reject'",
        "SET refresh_tokens.reuse_action = 'revoke_session'",
        "SET refresh_tokens.events = 'none'; SET refresh_tokens.reuse_action = 'reject'",
        "SET refresh_tokens.events = 'none'",
    ] {
        let cluster = Arc::new(Cluster::start(&[]));
        let database = Database::create_in(&cluster);
        let mut client = database.connect();
        let token = issue(&mut client, "alice");
        let child = rotate(&mut client, token.token()).expect("a verdict");
        rotate(&mut client, child.token()).expect("a verdict");
        pass_time(&mut client, token.session(), "1 h");
        execute(&mut client, settings);
        for _ in 0..50 {
            rotate(&mut client, token.token()).expect("a verdict");
        }
        let lines = || {
            let log = fs::read_to_string(cluster.log()).expect("a log");
            log.matches("refresh token reuse detected").count()
        };
        assert_eq!(lines(), 1, "{settings}");
        if !settings.contains("none") {
            let mut other = database.connect();
            execute(&mut other, settings);
            rotate(&mut other, token.token()).expect("a verdict");
            assert_eq!(lines(), 1, "{settings}");
        }
    }
}

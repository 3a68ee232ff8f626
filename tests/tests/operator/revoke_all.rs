//! The worst day: every session ends, batch by batch, and whoever logs in, rotates or logs out beside it waits for a batch at
//! the most.

use postgres::{Client, NoTls};
use refresh_tokens_tests::{
    Database, assert_invariants, contents, error_code, issue, pass_time, revoke, rotate,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn value<T: for<'a> postgres::types::FromSql<'a>>(client: &mut Client, sql: &str) -> T {
    client.query_one(sql, &[]).expect("a value").get(0)
}

/// Sessions and tokens without a session that are live.
fn live(client: &mut Client) -> (i64, i64) {
    let sessions = "SELECT count(*) FROM auth.sessions WHERE (not_after <= updated_at) IS NOT TRUE";
    let tokens = "SELECT count(*) FROM auth.refresh_tokens WHERE revoked IS FALSE";
    (value(client, sessions), value(client, tokens))
}

#[test]
fn it_ends_every_session_a_transaction_for_each_batch() {
    let database = Database::create();
    let mut client = database.connect();
    for n in 0..25 {
        let first = issue(&mut client, &format!("user {}", n % 4));
        rotate(&mut client, first.token()).expect("a verdict");
        if n % 5 == 0 {
            revoke(&mut client, &first);
        }
    }
    client
        .batch_execute(
            "INSERT INTO auth.refresh_tokens (token, user_id, revoked)
             SELECT 'orphan ' || n, 'alice', n % 3 > 0 FROM generate_series(1, 30) AS n;
             CREATE TABLE trace (id bigint, name text);
             CREATE FUNCTION trace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.trace VALUES (txid_current(), current_setting('application_name')); RETURN NULL;
             END $$;
             CREATE TRIGGER trace AFTER UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION trace();
             SET application_name = 'mine'",
        )
        .expect("a superuser may");
    let ended: Vec<String> = contents(&mut client);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let mut config = database.cluster().config(&database.name, "postgres");
    let heard = Arc::clone(&notices);
    config.notice_callback(move |notice| {
        let mut heard = heard.lock().expect("one thread");
        heard.push(notice.message().to_owned());
    });
    let mut operator = config.connect(NoTls).expect("a connection");
    operator
        .batch_execute("CALL auth.revoke_all_sessions(6)")
        .expect("all are ended");
    assert_eq!(
        *notices.lock().expect("one thread"),
        ["revoke_all_sessions: 20 sessions ended, and 10 tokens without a session revoked"]
    );
    assert_eq!(live(&mut client), (0, 0));
    assert_invariants(&mut client);
    let row = client
        .query_one(
            "SELECT count(DISTINCT id), min(name), max(name), count(*) FROM trace",
            &[],
        )
        .expect("a trace");
    assert_eq!(row.get::<_, i64>(0), 4);
    assert_eq!(row.get::<_, &str>(1), "revoke_all_sessions: 0 sessions");
    assert_eq!(row.get::<_, &str>(2), "revoke_all_sessions: 6 sessions");
    assert_eq!(row.get::<_, i64>(3), 20, "what had ended is not touched");
    assert!(!ended.is_empty());
    let events = "SELECT string_agg(reason, ', ' ORDER BY id) FROM auth.refresh_token_events
                   WHERE event = 'sessions_revoked' AND user_id IS NULL AND session_id IS NULL AND token_id IS NULL";
    assert_eq!(
        value::<String>(&mut client, events),
        "6 tokens without a session, 4 tokens without a session, 6 sessions, 6 sessions, 6 sessions, 2 sessions"
    );
    // Once more, there is nothing to do.
    let before = contents(&mut client);
    operator
        .batch_execute("CALL auth.revoke_all_sessions()")
        .expect("none is left");
    assert_eq!(contents(&mut client), before);
}

#[test]
fn a_batch_tells_where_to_go_on() {
    let database = Database::create();
    let mut client = database.connect();
    let mut ids: Vec<_> = (0..5)
        .map(|_| issue(&mut client, "alice").session())
        .collect();
    ids.sort_unstable();
    let mut batch = |after: Option<uuid::Uuid>| -> (Option<uuid::Uuid>, i64) {
        let sql = "SELECT last_session, sessions FROM auth.revoke_session_batch($1, 3)";
        let row = client.query_one(sql, &[&after]).expect("one row");
        (row.get(0), row.get(1))
    };
    assert_eq!(batch(Some(ids[0])), (Some(ids[3]), 3));
    assert_eq!(batch(Some(ids[3])), (Some(ids[4]), 1));
    assert_eq!(batch(Some(ids[4])), (None, 0));
    assert_eq!(batch(None), (Some(ids[0]), 1));
    assert_eq!(batch(None), (None, 0));
    for call in [
        "revoke_session_batch(NULL, 0)",
        "revoke_orphan_batch(NULL, 0)",
    ] {
        let sql = format!("SELECT auth.{call}");
        assert_eq!(error_code(client.batch_execute(&sql)), "22023");
    }
}

#[test]
fn where_it_can_not_commit_it_says_what_to_do() {
    let database = Database::create();
    let mut client = database.connect();
    let session = issue(&mut client, "alice").session();
    pass_time(&mut client, session, "1 d");
    let before = contents(&mut client);
    client
        .batch_execute(
            "CREATE FUNCTION in_function(call text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE call; END';
             CREATE PROCEDURE in_procedure() LANGUAGE plpgsql AS 'BEGIN CALL auth.revoke_all_sessions(); END'",
        )
        .expect("a superuser may");
    for procedure in ["purge_all", "revoke_all_sessions"] {
        for call in [
            format!("BEGIN; CALL auth.{procedure}()"),
            format!("SELECT 1; CALL auth.{procedure}()"),
            format!("SELECT in_function('CALL auth.{procedure}()')"),
            format!(
                "DO 'BEGIN CALL auth.{procedure}(); EXCEPTION WHEN division_by_zero THEN NULL; END'"
            ),
        ] {
            let error = client.batch_execute(&call).expect_err("an error");
            let error = error.as_db_error().expect("of the server");
            assert_eq!(error.code().code(), "2D000", "{call}");
            assert_eq!(
                error.message(),
                format!("auth.{procedure} commits each batch, which it cannot do here")
            );
            assert!(
                error
                    .hint()
                    .is_some_and(|hint| hint.starts_with("CALL it by itself"))
            );
            client.batch_execute("ROLLBACK").expect("a rollback");
        }
        assert_eq!(contents(&mut client), before);
    }
    client
        .batch_execute("CALL in_procedure(); DO 'BEGIN CALL auth.revoke_all_sessions(); END'")
        .expect_err("two statements are a transaction");
    client
        .batch_execute("CALL in_procedure()")
        .expect("a procedure that a CALL runs may commit");
    assert_eq!(live(&mut client), (0, 0));
    client
        .batch_execute("DO 'BEGIN CALL auth.revoke_all_sessions(); END'")
        .expect("and so may a DO");
}

/// Single calls beside it: none ends in a deadlock, and none waits long.
#[test]
fn nobody_is_in_a_deadlock_with_it_or_waits_long() {
    const USERS: usize = 200;
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {} SET refresh_tokens.max_sessions_per_user = 3",
            database.name
        ))
        .expect("a setting");
    for n in 0..USERS {
        issue(&mut client, &format!("user {}", n % 50));
    }
    let stop = AtomicBool::new(false);
    let longest = Mutex::new(Duration::ZERO);
    let calls = thread::scope(|scope| {
        let database = &database;
        let (stop, longest) = (&stop, &longest);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                scope.spawn(move || {
                    let mut client = database.connect();
                    let mut calls = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let user = format!("user {}", (calls * 7 + caller) % 50);
                        let start = Instant::now();
                        match (calls + caller) % 4 {
                            0 => drop(issue(&mut client, &user)),
                            1 => {
                                let grant = issue(&mut client, &user);
                                let rotated =
                                    rotate(&mut client, grant.token()).expect("a verdict");
                                assert!(
                                    ["rotated", "revoked", "expired"]
                                        .contains(&rotated.status.as_str())
                                );
                            }
                            2 => {
                                let sql = format!("SELECT auth.revoke_user_sessions('{user}')");
                                client.batch_execute(&sql).expect("no deadlock");
                            }
                            _ => {
                                let grant = issue(&mut client, &user);
                                let sql =
                                    format!("SELECT auth.revoke_session('{}')", grant.session());
                                client.batch_execute(&sql).expect("no deadlock");
                            }
                        }
                        let mut longest = longest.lock().expect("no panic");
                        *longest = start.elapsed().max(*longest);
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for batch_size in [1, 5, 50, 1000].into_iter().cycle().take(24) {
            client
                .batch_execute(&format!("CALL auth.revoke_all_sessions({batch_size})"))
                .expect("no deadlock");
        }
        stop.store(true, Ordering::Relaxed);
        let calls = callers
            .into_iter()
            .map(|caller| caller.join().expect("no error"));
        calls.sum::<usize>()
    });
    assert!(calls > 100, "{calls}");
    client
        .batch_execute("CALL auth.revoke_all_sessions()")
        .expect("the rest");
    assert_eq!(live(&mut client), (0, 0));
    assert_invariants(&mut client);
}

/// A token without a session that is rotated meanwhile gets one, which is ended.
#[test]
fn what_gets_a_session_meanwhile_does_not_escape() {
    let database = Database::create();
    let mut client = database.connect();
    let grant = issue(&mut client, "alice");
    client
        .batch_execute(
            "SET session_replication_role = replica;
             UPDATE auth.refresh_tokens SET session_id = NULL; DELETE FROM auth.sessions",
        )
        .expect("a superuser may");
    let mut other = database.connect();
    let mut transaction = other.transaction().expect("a transaction");
    let rotated = rotate(&mut transaction, grant.token()).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    thread::scope(|scope| {
        let all = scope.spawn(|| {
            let mut operator = database.connect();
            operator
                .batch_execute("CALL auth.revoke_all_sessions()")
                .expect("all are ended");
        });
        thread::sleep(Duration::from_millis(300));
        transaction.commit().expect("a commit");
        all.join().expect("no error");
    });
    let mut client = database.connect();
    assert_eq!(live(&mut client), (0, 0));
    let next = rotate(&mut client, rotated.token()).expect("a verdict");
    assert_eq!(next.status, "revoked");
}

/// Several calls in one transaction can be in a deadlock, which ends one of the two: its next try goes through.
#[test]
fn two_devices_that_rotate_and_log_the_others_out_in_one_transaction_are_retried() {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute(&format!(
            "ALTER DATABASE {} SET deadlock_timeout = '50 ms'",
            database.name
        ))
        .expect("a setting");
    let devices = [issue(&mut client, "alice"), issue(&mut client, "alice")];
    let barrier = std::sync::Barrier::new(2);
    let outcomes: Vec<Vec<String>> = thread::scope(|scope| {
        let callers: Vec<_> = devices
            .iter()
            .map(|device| {
                let (database, barrier) = (&database, &barrier);
                scope.spawn(move || {
                    let mut client = database.connect();
                    let mut outcomes = Vec::new();
                    // The one that was chosen may meet the other again before that one has gone on.
                    for attempt in 0..20 {
                        let mut transaction = client.transaction().expect("a transaction");
                        let status = rotate(&mut transaction, device.token())
                            .expect("a verdict")
                            .status;
                        if attempt == 0 {
                            barrier.wait();
                        }
                        let sql = "SELECT auth.revoke_user_sessions('alice', $1)";
                        match transaction.query_one(sql, &[&device.session()]) {
                            Ok(_) => {
                                transaction.commit().expect("a commit");
                                outcomes.push(status);
                                return outcomes;
                            }
                            Err(error) => {
                                let code = error.code().expect("of the server").code().to_owned();
                                outcomes.push(code);
                                transaction.rollback().expect("a rollback");
                            }
                        }
                    }
                    outcomes
                })
            })
            .collect();
        let outcomes = callers
            .into_iter()
            .map(|caller| caller.join().expect("no panic"));
        outcomes.collect()
    });
    let (mut last, mut before) = (Vec::new(), Vec::new());
    for outcome in &outcomes {
        let (end, errors) = outcome.split_last().expect("an outcome");
        last.push(end);
        before.extend(errors);
    }
    assert!(!before.is_empty(), "{outcomes:?}");
    assert!(before.iter().all(|&code| code == "40P01"), "{outcomes:?}");
    last.sort_unstable();
    assert_eq!(last, ["revoked", "rotated"], "{outcomes:?}");
    assert_invariants(&mut client);
}

//! Calls that don't come to their end: time-outs, cancelled and terminated ones, savepoints and
//! transactions that are rolled back.

use postgres::Client;
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Database, Racer, assert_invariants, contents, error_code, issue, miscounted_sessions, rotate,
    wait_until, waits,
};
use std::thread;
use uuid::Uuid;

/// How often a call is interrupted in the same backend.
const TIMES: usize = 25;

/// A call that waits for a lock while `lock` is held by another transaction, and what it gives as text
/// once it needn't wait any more.
struct Wait {
    name: &'static str,
    call: String,
    lock: String,
    gives: &'static str,
}

/// Every function that waits for a lock, each on a family of its own.
fn waiting_calls(client: &mut Client) -> Vec<Wait> {
    type Call = fn(&str, Uuid, &str) -> String;
    const SESSION: &str = "SELECT FROM auth.sessions WHERE id = '{session}' FOR NO KEY UPDATE";
    const ROW: &str = "SELECT FROM auth.refresh_tokens WHERE token = '{digest}' FOR NO KEY UPDATE";
    const LOGIN: &str = "SELECT auth.issue_refresh_token('{user}')";
    let calls: [(&str, &str, &str, Call); 10] = [
        ("rotate", "rotated", SESSION, |_, _, token| {
            format!("(auth.rotate_refresh_token('{token}')).status")
        }),
        (
            "issue into a session",
            "issued",
            SESSION,
            |user, session, _| format!("(auth.issue_refresh_token('{user}', '{session}')).status"),
        ),
        ("issue over the cap", "issued", SESSION, |user, _, _| {
            format!("(auth.issue_refresh_token('{user}')).status")
        }),
        ("issue beside a login", "issued", LOGIN, |user, _, _| {
            format!("(auth.issue_refresh_token('{user}')).status")
        }),
        ("revoke_refresh_token", "1", SESSION, |_, _, token| {
            format!("auth.revoke_refresh_token('{token}')")
        }),
        ("revoke_token_family", "1", SESSION, |_, _, token| {
            format!("auth.revoke_token_family('{}')", digest(token))
        }),
        ("revoke_session", "1", SESSION, |_, session, _| {
            format!("auth.revoke_session('{session}')")
        }),
        ("revoke_user_sessions", "1", SESSION, |user, _, _| {
            format!("auth.revoke_user_sessions('{user}')")
        }),
        ("rotate without a session", "rotated", ROW, |_, _, token| {
            format!("(auth.rotate_refresh_token('{token}')).status")
        }),
        ("revoke without a session", "1", ROW, |_, _, token| {
            format!("auth.revoke_token_family('{token}')")
        }),
    ];
    let calls = calls.into_iter().map(|(name, gives, lock, call)| {
        let user = Uuid::new_v4().to_string();
        let grant = issue(client, &user);
        let (session, token) = (grant.session(), grant.token());
        if lock == ROW {
            let sql = format!(
                "UPDATE auth.refresh_tokens SET session_id = NULL WHERE session_id = '{session}';
                 DELETE FROM auth.sessions WHERE id = '{session}'"
            );
            client.batch_execute(&sql).expect("a superuser may write");
        }
        Wait {
            name,
            call: call(&user, session, token),
            lock: lock
                .replace("{session}", &session.to_string())
                .replace("{digest}", &digest(token))
                .replace("{user}", &user),
            gives,
        }
    });
    calls.collect()
}

impl Wait {
    /// Makes the call and gives what it gives as text.
    fn run(&self, client: &mut Client) -> Result<String, postgres::Error> {
        let sql = format!("SELECT ({})::text", self.call);
        Ok(client.query_one(&sql, &[])?.get(0))
    }
}

/// A database with a cap of one session, so that logins wait too.
fn database() -> Database {
    let database = Database::create();
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.max_sessions_per_user = 1",
        database.name
    );
    database.connect().batch_execute(&sql).expect("a setting");
    database
}

/// The memory that the backend holds for SPI and for plans: what a call that is torn down may leave
/// behind, counted.
fn kept_by_spi(client: &mut Client) -> Vec<(String, i64)> {
    let sql = "SELECT name, count(*) FROM pg_catalog.pg_backend_memory_contexts
                WHERE name LIKE 'SPI %' OR name LIKE 'CachedPlan%' GROUP BY name ORDER BY name";
    let rows = client.query(sql, &[]).expect("a superuser may look");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Lets each waiting call be interrupted again and again by `interrupt`, which answers with its SQLSTATE, and
/// checks that it leaves no trace: neither in the tables nor in the backend.
fn interrupt_all(
    mut interrupt: impl FnMut(&Wait, &mut Racer, &mut Client) -> String,
    expected: &str,
) {
    let database = database();
    let client = &mut database.connect();
    let holder = &mut database.connect();
    for wait in waiting_calls(client) {
        let mut racer = Racer::new(&database);
        let mut kept = Vec::new();
        let mut gate = holder.transaction().expect("a transaction");
        gate.batch_execute(&wait.lock).expect("the lock is free");
        let before = contents(client);
        for time in 0..TIMES {
            let code = interrupt(&wait, &mut racer, client);
            assert_eq!(code, expected, "{}", wait.name);
            // The backend does at once what needs no lock.
            let answer = rotate(&mut racer.client, &unknown_token()).expect("a verdict");
            assert_eq!(answer.status, "not_found");
            // By then it is settled which plans are generic.
            if time == TIMES / 2 {
                kept = kept_by_spi(&mut racer.client);
            }
        }
        assert_eq!(kept_by_spi(&mut racer.client), kept, "{}", wait.name);
        assert_eq!(contents(client), before, "{}", wait.name);
        gate.rollback().expect("a rollback");
        let given = wait.run(&mut racer.client).expect("no lock is held");
        assert_eq!(given, wait.gives, "{}", wait.name);
        // And a whole life goes on in it.
        let first = issue(&mut racer.client, wait.name);
        let second = rotate(&mut racer.client, first.token()).expect("a verdict");
        assert_eq!(second.status, "rotated");
        let retry = rotate(&mut racer.client, first.token()).expect("a verdict");
        assert_eq!(
            (retry.status.as_str(), retry.token()),
            ("retried", second.token())
        );
    }
    assert_invariants(client);
}

/// Makes the call with `setting`, which falls back with the transaction.
fn run_with(setting: &str, wait: &Wait, racer: &mut Racer) -> String {
    let sql = format!("SET LOCAL {setting}; SELECT {}", wait.call);
    error_code(racer.client.batch_execute(&sql))
}

#[test]
fn a_lock_timeout_leaves_no_trace() {
    interrupt_all(
        |wait, racer, _| run_with("lock_timeout = 5", wait, racer),
        "55P03",
    );
}

#[test]
fn a_statement_timeout_leaves_no_trace() {
    interrupt_all(
        |wait, racer, _| run_with("statement_timeout = 20", wait, racer),
        "57014",
    );
}

#[test]
fn a_cancelled_call_leaves_no_trace() {
    // Not by a cancel request: for each one the server sends two signals, and the driver waits for neither.
    // The second one would now and then hit the next statement.
    let sql = "SELECT pg_catalog.pg_cancel_backend($1)";
    let cancel = |wait: &Wait, racer: &mut Racer, client: &mut Client| {
        let pid = racer.pid;
        thread::scope(|scope| {
            let call = scope.spawn(|| wait.run(&mut racer.client));
            wait_until("the call waits", || {
                call.is_finished() || waits(client, pid)
            });
            client.execute(sql, &[&pid]).expect("a superuser may");
            error_code(call.join().expect("the racer comes home"))
        })
    };
    interrupt_all(cancel, "57014");
}

/// SPI in SPI: the error is caught in a function that goes on.
#[test]
fn a_caller_in_plpgsql_catches_the_timeout_and_goes_on() {
    let database = database();
    let client = &mut database.connect();
    let holder = &mut database.connect();
    client
        .batch_execute(
            "CREATE FUNCTION caught(call text) RETURNS int LANGUAGE plpgsql AS $$
             DECLARE
                 times int := 0;
             BEGIN
                 FOR i IN 1..25 LOOP
                     BEGIN
                         EXECUTE 'SELECT ' || call;
                     EXCEPTION WHEN lock_not_available THEN
                         times := times + 1;
                     END;
                 END LOOP;
                 RETURN times;
             END $$",
        )
        .expect("a function");
    for wait in waiting_calls(client) {
        let mut gate = holder.transaction().expect("a transaction");
        gate.batch_execute(&wait.lock).expect("the lock is free");
        let before = contents(client);
        let mut transaction = client.transaction().expect("a transaction");
        transaction
            .batch_execute("SET LOCAL lock_timeout = 5")
            .expect("a setting");
        let caught = transaction.query_one("SELECT caught($1)", &[&wait.call]);
        assert_eq!(
            caught.expect("nothing else goes wrong").get::<_, i32>(0),
            25,
            "{}",
            wait.name
        );
        assert_eq!(contents(&mut transaction), before, "{}", wait.name);
        gate.rollback().expect("a rollback");
        // The same transaction: it is whole, and what it does now is done.
        let sql = format!("SELECT ({})::text", wait.call);
        let row = transaction.query_one(&sql, &[]).expect("no lock is held");
        assert_eq!(row.get::<_, String>(0), wait.gives, "{}", wait.name);
        transaction.commit().expect("a commit");
    }
    assert_invariants(client);
}

#[test]
fn a_timeout_in_a_savepoint_leaves_the_transaction_whole() {
    let database = database();
    let client = &mut database.connect();
    let holder = &mut database.connect();
    for wait in waiting_calls(client) {
        let mut gate = holder.transaction().expect("a transaction");
        gate.batch_execute(&wait.lock).expect("the lock is free");
        let mut transaction = client.transaction().expect("a transaction");
        let mine = call_issue(&mut transaction);
        for _ in 0..3 {
            let mut savepoint = transaction.transaction().expect("a savepoint");
            let sql = format!("SET LOCAL lock_timeout = 5; SELECT {}", wait.call);
            assert_eq!(
                error_code(savepoint.batch_execute(&sql)),
                "55P03",
                "{}",
                wait.name
            );
            savepoint.rollback().expect("a rollback");
        }
        gate.rollback().expect("a rollback");
        let sql = format!("SELECT ({})::text", wait.call);
        let row = transaction.query_one(&sql, &[]).expect("no lock is held");
        assert_eq!(row.get::<_, String>(0), wait.gives, "{}", wait.name);
        transaction.commit().expect("a commit");
        assert_eq!(rotate(client, &mine).expect("a verdict").status, "rotated");
    }
    assert_invariants(client);
}

/// A login of somebody new in a transaction.
fn call_issue(client: &mut impl postgres::GenericClient) -> String {
    let user = Uuid::new_v4().to_string();
    let sql = "SELECT (auth.issue_refresh_token($1)).refresh_token";
    client.query_one(sql, &[&user]).expect("a login").get(0)
}

#[test]
fn a_savepoint_rolled_back_gives_the_old_token_back() {
    let database = Database::create();
    let client = &mut database.connect();
    let first = issue(client, "alice").token().to_owned();

    let mut transaction = client.transaction().expect("a transaction");
    let mut savepoint = transaction.savepoint("before").expect("a savepoint");
    let undone = rotate(&mut savepoint, &first).expect("a verdict");
    assert_eq!(undone.status, "rotated");
    let retry = rotate(&mut savepoint, &first).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", undone.token())
    );
    savepoint.rollback().expect("a rollback");

    let verdict = rotate(&mut transaction, undone.token()).expect("a verdict");
    assert_eq!(verdict.status, "not_found");
    let second = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(second.status, "rotated");
    assert_ne!(
        second.token(),
        undone.token(),
        "the key was undone with the rotation"
    );
    transaction.commit().expect("a commit");

    let verdict = rotate(client, undone.token()).expect("a verdict");
    assert_eq!(verdict.status, "not_found");
    let retry = rotate(client, &first).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", second.token())
    );
    assert_eq!(
        rotate(client, second.token()).expect("a verdict").status,
        "rotated"
    );
    assert_invariants(client);
    assert_eq!(miscounted_sessions(client), Vec::<String>::new());
}

/// The lock falls with the savepoint: nobody has to wait for the transaction that goes on.
#[test]
fn a_savepoint_rolled_back_keeps_nobody_waiting() {
    let database = Database::create();
    let client = &mut database.connect();
    let other = &mut database.connect();
    let first = issue(client, "alice").token().to_owned();
    let mut transaction = client.transaction().expect("a transaction");
    let mut savepoint = transaction.savepoint("before").expect("a savepoint");
    let undone = rotate(&mut savepoint, &first).expect("a verdict");
    savepoint.rollback().expect("a rollback");

    other
        .batch_execute("SET lock_timeout = '10 s'")
        .expect("a setting");
    let second = rotate(other, &first).expect("no lock is held");
    assert_eq!(second.status, "rotated");
    assert_ne!(second.token(), undone.token());
    let retry = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", second.token())
    );
    transaction.commit().expect("a commit");
    assert_invariants(client);
}

/// A revocation by reuse alone outlives it: see `durable.rs`.
#[test]
fn a_revocation_rolled_back_to_a_savepoint_was_none() {
    let database = Database::create();
    let client = &mut database.connect();
    let first = issue(client, "alice");
    let live = rotate(client, first.token()).expect("a verdict");
    let mut transaction = client.transaction().expect("a transaction");
    let revocations = [
        format!(
            "SELECT auth.revoke_refresh_token('{}')::text",
            first.token()
        ),
        format!("SELECT auth.revoke_session('{}')::text", first.session()),
        "SELECT auth.revoke_user_sessions('alice')::text".to_owned(),
    ];
    let before = contents(&mut transaction);
    for (revocation, gives) in revocations.iter().zip(["1", "1", "1"]) {
        let mut savepoint = transaction.savepoint("before").expect("a savepoint");
        let row = savepoint.query_one(revocation, &[]).expect("no conflict");
        assert_eq!(row.get::<_, String>(0), gives);
        let ended = rotate(&mut savepoint, live.token()).expect("a verdict");
        assert_eq!(ended.status, "revoked");
        savepoint.rollback().expect("a rollback");
        assert_eq!(contents(&mut transaction), before);
    }
    let child = rotate(&mut transaction, live.token()).expect("a verdict");
    assert_eq!(child.status, "rotated");
    transaction.commit().expect("a commit");
    assert_invariants(client);
}

#[test]
fn a_whole_life_fits_into_one_transaction() {
    let database = Database::create();
    let client = &mut database.connect();
    let mut transaction = client.transaction().expect("a transaction");
    let row = transaction
        .query_one("SELECT * FROM auth.issue_refresh_token('alice')", &[])
        .expect("a login");
    let (first, session): (String, Uuid) = (row.get("refresh_token"), row.get("session_id"));
    let second = rotate(&mut transaction, &first).expect("a verdict");
    let third = rotate(&mut transaction, second.token()).expect("a verdict");
    assert_eq!(
        (second.status.as_str(), third.status.as_str()),
        ("rotated", "rotated")
    );
    let retry = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", third.token())
    );
    let row = transaction.query_one("SELECT auth.revoke_session($1)", &[&session]);
    assert_eq!(row.expect("no conflict").get::<_, i64>(0), 1);
    for token in [&first, second.token(), third.token()] {
        assert_eq!(
            rotate(&mut transaction, token).expect("a verdict").status,
            "revoked"
        );
    }
    transaction.commit().expect("a commit");
    assert_invariants(client);
    assert_eq!(
        rotate(client, third.token()).expect("a verdict").status,
        "revoked"
    );
}

/// One statement has one snapshot; each call in it sees what the calls before it did all the same.
#[test]
fn calls_in_one_statement_see_each_other() {
    let database = Database::create();
    let client = &mut database.connect();
    let first = issue(client, "alice").token().to_owned();
    let sql = "SELECT r.status::text, r.refresh_token
                 FROM generate_series(1, 3) AS n,
                      LATERAL auth.rotate_refresh_token(CASE WHEN n > 0 THEN $1 END) AS r";
    let rows = client.query(sql, &[&first]).expect("verdicts");
    let answers: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let statuses: Vec<_> = answers.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["rotated", "retried", "retried"]);
    assert!(answers.iter().all(|(_, token)| *token == answers[0].1));
    assert_invariants(client);
}

/// What a call reads after it has locked must not hang on a side effect of the lock: in the block it is
/// held already, and the caller's snapshot is older than the rotation.
#[test]
fn calls_in_one_stable_function_see_each_other() {
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute(
            "CREATE FUNCTION thrice(token text) RETURNS auth.refresh_token_grant[] LANGUAGE plpgsql STABLE AS $$
             DECLARE
                 answers auth.refresh_token_grant[];
             BEGIN
                 answers := ARRAY[auth.rotate_refresh_token(token)];
                 answers := answers || auth.rotate_refresh_token(token);
                 BEGIN
                     answers := answers || auth.rotate_refresh_token(token);
                 EXCEPTION WHEN division_by_zero THEN
                     NULL;
                 END;
                 RETURN answers;
             END $$",
        )
        .expect("a function");
    let first = issue(client, "alice").token().to_owned();
    // The planner may call a stable function for an estimate: not where it is nobody's argument.
    let sql = "WITH t AS MATERIALIZED (SELECT thrice($1) AS answers)
               SELECT a.status::text, a.refresh_token FROM t, unnest(t.answers) AS a";
    let rows = client.query(sql, &[&first]).expect("verdicts");
    let answers: Vec<(String, Option<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let statuses: Vec<_> = answers.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["rotated", "retried", "retried"]);
    assert!(answers.iter().all(|(_, token)| *token == answers[0].1));
    assert_invariants(client);
}

#[test]
fn a_rotation_lives_and_dies_with_the_applications_transaction() {
    let database = Database::create();
    let client = &mut database.connect();
    client
        .batch_execute("CREATE TABLE work (id int PRIMARY KEY)")
        .expect("a table");
    let first = issue(client, "alice").token().to_owned();
    let before = contents(client);

    let mut transaction = client.transaction().expect("a transaction");
    let undone = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(undone.status, "rotated");
    transaction
        .execute("INSERT INTO work VALUES (1)", &[])
        .expect("a row");
    transaction.rollback().expect("a rollback");
    // But for the sequence, which never goes back.
    let rows = |contents: &[String]| -> Vec<String> {
        let rows = contents.iter().filter(|row| !row.starts_with("sequence"));
        rows.cloned().collect()
    };
    assert_eq!(rows(&contents(client)), rows(&before));
    assert_eq!(
        rotate(client, undone.token()).expect("a verdict").status,
        "not_found"
    );

    // An error of the application's own takes the rotation back with it.
    let mut transaction = client.transaction().expect("a transaction");
    assert_eq!(
        rotate(&mut transaction, &first).expect("a verdict").status,
        "rotated"
    );
    let failed = transaction.batch_execute("INSERT INTO work VALUES (1), (1)");
    assert_eq!(error_code(failed), "23505");
    assert_eq!(error_code(rotate(&mut transaction, &first)), "25P02");
    transaction.rollback().expect("a rollback");
    assert_eq!(rows(&contents(client)), rows(&before));

    let mut transaction = client.transaction().expect("a transaction");
    transaction
        .execute("INSERT INTO work VALUES (2)", &[])
        .expect("a row");
    let second = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(second.status, "rotated");
    transaction
        .execute("INSERT INTO work VALUES (3)", &[])
        .expect("a row");
    transaction.commit().expect("a commit");
    let row = client.query_one("SELECT array_agg(id ORDER BY id) FROM work", &[]);
    assert_eq!(row.expect("rows").get::<_, Vec<i32>>(0), [2, 3]);
    let retry = rotate(client, &first).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", second.token())
    );
    assert_invariants(client);
    assert_eq!(miscounted_sessions(client), Vec::<String>::new());
}

#[test]
fn a_backend_terminated_while_it_holds_or_awaits_the_lock_holds_up_nobody() {
    let database = Database::create();
    let client = &mut database.connect();
    let started = "SELECT pg_catalog.pg_postmaster_start_time()::text";
    let terminate = "SELECT pg_catalog.pg_terminate_backend($1)";
    let text = |client: &mut Client, sql: &str| -> String {
        client.query_one(sql, &[]).expect("a value").get(0)
    };
    let server = text(client, started);
    for round in 0..5 {
        let first = issue(client, &format!("user {round}")).token().to_owned();
        let mut holder = Racer::new(&database);
        let mut awaits: Vec<_> = (0..3).map(|_| Racer::new(&database)).collect();
        let pids: Vec<_> = awaits.iter().map(|racer| racer.pid).collect();
        let mut transaction = holder.client.transaction().expect("a transaction");
        let undone = rotate(&mut transaction, &first).expect("a verdict");
        assert_eq!(undone.status, "rotated");
        let answers: Vec<_> = thread::scope(|scope| {
            let mut calls = Vec::new();
            for racer in &mut awaits {
                let (first, pid) = (&first, racer.pid);
                calls.push(scope.spawn(move || rotate(&mut racer.client, first)));
                wait_until("the call waits", || waits(client, pid));
            }
            // The first that waits, then the one that holds the lock.
            for pid in [pids[0], holder.pid] {
                let row = client.query_one(terminate, &[&pid]);
                assert!(row.expect("a superuser may").get::<_, bool>(0));
            }
            let join =
                |call: thread::ScopedJoinHandle<'_, _>| call.join().expect("the racer comes home");
            calls.into_iter().map(join).collect()
        });
        let mut answers = answers.into_iter();
        let terminated = answers.next().expect("three answers");
        let terminated = terminated.expect_err("it was terminated");
        assert!(terminated.is_closed() || error_code(Err::<(), _>(terminated)) == "57P01");
        let answers: Vec<_> = answers.map(|answer| answer.expect("a verdict")).collect();
        let mut statuses: Vec<_> = answers
            .iter()
            .map(|answer| answer.status.as_str())
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses, ["retried", "rotated"]);
        assert_eq!(answers[0].token(), answers[1].token());
        assert_ne!(answers[0].token(), undone.token());
    }
    assert_eq!(
        text(client, started),
        server,
        "no backend took the server down with it"
    );
    assert_invariants(client);
    assert_eq!(miscounted_sessions(client), Vec::<String>::new());
}

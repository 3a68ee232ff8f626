//! A reuse that was detected ends the family, whatever becomes of the statement, the savepoint or the transaction that
//! detected it.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Grant, Racer, Racers, assert_invariants, backend_pid, error_code, issue,
    pass_time, rotate, wait_until, waits,
};
use std::fs;
use std::sync::Arc;
use std::thread;

/// A token and its child, an hour old: whoever presents the token now is no honest client.
fn family(client: &mut Client, user: &str) -> [Grant; 2] {
    let first = issue(client, user);
    let child = rotate(client, first.token()).expect("a verdict");
    pass_time(client, first.session(), "1 hour");
    [first, child]
}

/// How many workers end families, or wait to.
fn workers(client: &mut impl GenericClient) -> i64 {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'refresh_tokens durable reuse'";
    client.query_one(sql, &[]).expect("a count").get(0)
}

fn is_live(client: &mut Client, grant: &Grant) -> bool {
    let sql = "SELECT auth.is_session_live($1)";
    let row = client.query_one(sql, &[&grant.session()]);
    row.expect("an answer").get(0)
}

/// The events of `user`, with all that they tell.
fn events(client: &mut Client, user: &str) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', event, reason, token_id, user_agent, host(ip))
                 FROM auth.refresh_token_events WHERE user_id = $1 ORDER BY id";
    let rows = client.query(sql, &[&user]).expect("a superuser may look");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Asserts that the family ends, with one event of the reuse of its first token.
fn assert_ends(client: &mut Client, user: &str, family: &[Grant; 2], way: &str) {
    wait_until(way, || !is_live(client, &family[0]));
    wait_until("the worker is gone", || workers(client) == 0);
    let status = rotate(client, family[1].token()).expect("a verdict").status;
    assert_eq!(status, "revoked", "{way}");
    let id = family[0].token_id.expect("a token");
    let expected = format!("reuse_detected parent {id} thief 192.0.2.7");
    assert_eq!(events(client, user), [expected], "{way}");
    assert_invariants(client);
}

/// A statement that presents `$1` as a thief does.
const PRESENT: &str = "SELECT status::text FROM auth.rotate_refresh_token($1, user_agent => 'thief', ip => '192.0.2.7')";

fn present(client: &mut impl GenericClient, family: &[Grant; 2]) {
    let row = client.query_one(PRESENT, &[&family[0].token()]);
    assert_eq!(row.expect("a verdict").get::<_, &str>(0), "reuse_detected");
}

/// Presents the first token of a family, and undoes it.
type Undo = fn(&mut Client, &[Grant; 2]);

/// By which SQLSTATE a statement around the verdict fails.
fn fails(client: &mut Client, around: &str, family: &[Grant; 2]) -> String {
    let sql = around.replace("{}", PRESENT);
    error_code(client.query_one(&sql, &[&family[0].token()]))
}

/// The endpoint, in a statement as PostgREST makes of `POST /rpc/token?select=pgrst_scalar::int`.
const REQUEST: &str = "
    WITH pgrst_source AS (SELECT auth.token('refresh_token', $1) AS pgrst_scalar)
    SELECT pgrst_scalar::int FROM pgrst_source";

const WAYS: [(&str, Undo); 8] = [
    ("a rollback", |client, family| {
        let mut transaction = client.transaction().expect("a transaction");
        present(&mut transaction, family);
        transaction.rollback().expect("a rollback");
    }),
    ("a cast of the answer", |client, family| {
        let code = fails(client, "SELECT a.status::int FROM ({}) AS a", family);
        assert_eq!(code, "22P02");
    }),
    ("a cast of the endpoint's answer", |client, family| {
        let mut request = client.transaction().expect("a transaction");
        request
            .batch_execute(
                r#"SET LOCAL refresh_tokens.trusted_proxies = 1;
                   SELECT set_config('request.headers',
                              '{"user-agent": "thief", "x-forwarded-for": "192.0.2.7"}', true)"#,
            )
            .expect("settings");
        let code = error_code(request.query_one(REQUEST, &[&family[0].token()]));
        assert_eq!(code, "22023");
    }),
    ("a statement that fails later", |client, family| {
        let mut transaction = client.transaction().expect("a transaction");
        present(&mut transaction, family);
        assert_eq!(
            error_code(transaction.batch_execute("SELECT 1 / 0")),
            "22012"
        );
    }),
    ("a savepoint", |client, family| {
        let mut transaction = client.transaction().expect("a transaction");
        let mut savepoint = transaction.transaction().expect("a savepoint");
        present(&mut savepoint, family);
        savepoint.rollback().expect("a rollback");
        transaction.commit().expect("a commit");
    }),
    ("a block with an exception", |client, family| {
        let sql = format!(
            "DO $$ BEGIN
                 PERFORM auth.rotate_refresh_token('{}', user_agent => 'thief', ip => '192.0.2.7');
                 RAISE 'a framework does not like refusals';
             EXCEPTION WHEN raise_exception THEN NULL;
             END $$",
            family[0].token()
        );
        client.batch_execute(&sql).expect("a block");
    }),
    (
        "a connection that breaks in its transaction",
        |client, family| {
            let pid = backend_pid(client);
            let mut transaction = client.transaction().expect("a transaction");
            present(&mut transaction, family);
            let sql = "SELECT pg_terminate_backend($1)";
            assert!(transaction.execute(sql, &[&pid]).is_err());
        },
    ),
    ("a transaction that was prepared", |client, family| {
        let mut transaction = client.transaction().expect("a transaction");
        present(&mut transaction, family);
        let prepare = "PREPARE TRANSACTION 'the reuse'";
        transaction.batch_execute(prepare).expect("it is prepared");
        transaction.commit().expect("there is none any more");
        assert!(is_live(client, &family[0]));
        let undo = "ROLLBACK PREPARED 'the reuse'";
        client.batch_execute(undo).expect("a rollback");
    }),
];

/// A cluster in which transactions can be prepared, and settings of a database get in the worker's way.
fn cluster() -> Arc<Cluster> {
    Arc::new(Cluster::start(&["max_prepared_transactions = 5"]))
}

#[test]
fn however_it_is_undone_the_family_ends_with_one_event() {
    let database = Database::create_in(&cluster());
    let client = &mut database.connect();
    let name = &database.name;
    client
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';
             ALTER DATABASE {name} SET lock_timeout = '1 ms';
             ALTER DATABASE {name} SET search_path = 'nowhere';
             SELECT auth.rotate_signing_key()"
        ))
        .expect("settings");
    for (way, undo) in WAYS {
        let family = family(client, way);
        undo(&mut database.connect(), &family);
        assert_ends(client, way, &family, way);
    }
}

#[test]
fn a_commit_leaves_one_event_and_no_worker() {
    let database = Database::create_in(&cluster());
    let client = &mut database.connect();
    let one = family(client, "alice");
    present(client, &one);
    assert_ends(client, "alice", &one, "a commit");
    let other = family(client, "bob");
    let mut transaction = client.transaction().expect("a transaction");
    present(&mut transaction, &other);
    let prepare = "PREPARE TRANSACTION 'the reuse'";
    transaction.batch_execute(prepare).expect("it is prepared");
    transaction.commit().expect("there is none any more");
    client
        .batch_execute("COMMIT PREPARED 'the reuse'")
        .expect("a commit");
    assert_ends(client, "bob", &other, "a prepared commit");
}

/// The family ends with the transaction, and not some time later: the worker waits for a lock that the transaction holds,
/// which PostgreSQL hands over at once.
#[test]
fn the_worker_waits_in_line_for_the_end_of_the_transaction() {
    const IN_LINE: &str = "
        SELECT EXISTS (SELECT FROM pg_locks AS worker JOIN pg_stat_activity USING (pid)
                         JOIN pg_locks AS caller USING (locktype, classid, objid, objsubid)
                        WHERE backend_type = 'refresh_tokens durable reuse' AND NOT worker.granted
                          AND caller.granted AND caller.pid = $1)";
    let database = Database::create_alone();
    let client = &mut database.connect();
    let family = family(client, "alice");
    let mut caller = Racer::new(&database);
    let mut transaction = caller.client.transaction().expect("a transaction");
    present(&mut transaction, &family);
    wait_until("the worker waits for the caller", || {
        let row = client.query_one(IN_LINE, &[&caller.pid]);
        row.expect("a superuser may look").get(0)
    });
    assert!(is_live(client, &family[0]));
    transaction.rollback().expect("a rollback");
    assert_ends(client, "alice", &family, "in line");
}

/// Whoever locks the tables in another order than the worker is not the one who fails, and the family ends all the same.
#[test]
fn who_alters_the_tables_does_not_lose_to_the_worker() {
    const WORKER_WAITS: &str = "
        SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                        WHERE backend_type = 'refresh_tokens durable reuse' AND NOT granted
                          AND locktype IN ('transactionid', 'tuple'))";
    let database = Database::create_alone();
    let client = &mut database.connect();
    let family = family(client, "alice");
    let [mut reusing, mut altering] = [(); 2].map(|()| Racer::new(&database));
    // The worker gets its ticket with the end of the savepoint, and the row with the end of the transaction.
    let mut holding = reusing.client.transaction().expect("a transaction");
    let sql = "SELECT FROM auth.sessions FOR UPDATE";
    holding.batch_execute(sql).expect("the row");
    let mut reuse = holding.transaction().expect("a savepoint");
    present(&mut reuse, &family);
    reuse.rollback().expect("a rollback");
    wait_until("the worker waits for the row", || {
        client.query_one(WORKER_WAITS, &[]).expect("a row").get(0)
    });
    thread::scope(|scope| {
        let sql = "BEGIN; LOCK auth.refresh_token_events; LOCK auth.refresh_tokens; COMMIT";
        let altered = scope.spawn(|| altering.client.batch_execute(sql));
        wait_until("it waits for the worker", || waits(client, altering.pid));
        holding.commit().expect("a commit");
        altered.join().expect("who alters").expect("no deadlock");
    });
    assert_ends(client, "alice", &family, "beside who alters the tables");
}

/// With an owner who can't log in and is no superuser, whose privileges are all that the worker has.
#[test]
fn the_worker_acts_as_the_owner_of_the_functions() {
    let database = Database::create_alone();
    let client = &mut database.connect();
    let owner = format!("owner_{}", database.name);
    client
        .batch_execute(&format!(
            "CREATE ROLE {owner} NOLOGIN;
             SELECT auth.set_refresh_token_owner('{owner}');
             CREATE TABLE seen (who text, may_become text);
             GRANT INSERT ON seen TO {owner};
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.not_after IS NOT NULL THEN
                     BEGIN
                         RESET SESSION AUTHORIZATION;
                         INSERT INTO public.seen VALUES (current_user, 'anybody');
                     EXCEPTION WHEN OTHERS THEN
                         INSERT INTO public.seen VALUES (current_user, SQLERRM);
                     END;
                 END IF;
                 RETURN NEW;
             END $$"
        ))
        .expect("a superuser may");
    let family = family(client, "alice");
    client
        .batch_execute(
            "CREATE TRIGGER see AFTER UPDATE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .expect("a trigger");
    let mut transaction = client.transaction().expect("a transaction");
    present(&mut transaction, &family);
    transaction.rollback().expect("a rollback");
    assert_ends(client, "alice", &family, "as the owner");
    let seen = client.query_one("SELECT who, may_become FROM seen", &[]);
    let seen = seen.expect("once");
    assert_eq!(seen.get::<_, &str>(0), owner);
    assert!(seen.get::<_, &str>(1).contains("cannot set parameter"));
}

#[test]
fn a_family_without_a_session_ends_too() {
    let database = Database::create_alone();
    let client = &mut database.connect();
    let [first, second] = [unknown_token(), unknown_token()];
    let sql =
        "INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, created_at, updated_at)
               VALUES ($1, $2, 'alice', $3, now() - interval '1 h', now() - interval '1 h')";
    let none: Option<String> = None;
    client
        .execute(sql, &[&digest(&first), &none, &true])
        .expect("a row");
    client
        .execute(sql, &[&digest(&second), &Some(digest(&first)), &false])
        .expect("a row");
    let mut transaction = client.transaction().expect("a transaction");
    let answer = rotate(&mut transaction, &first).expect("a verdict");
    assert_eq!(answer.status, "reuse_detected");
    transaction.rollback().expect("a rollback");
    wait_until("the worker is gone", || workers(client) == 0);
    assert_eq!(
        rotate(client, &second).expect("a verdict").status,
        "revoked"
    );
    assert_eq!(events(client, "alice").len(), 1);
}

/// What the transaction that is undone has itself done to the family never was, and so neither was the reuse.
#[test]
fn the_reuse_of_a_rotation_that_never_was_is_none() {
    let database = Database::create_alone();
    let client = &mut database.connect();
    client
        .batch_execute("SET refresh_tokens.reuse_interval = 0")
        .expect("a setting");
    let token = issue(client, "alice");
    let mut transaction = client.transaction().expect("a transaction");
    let child = rotate(&mut transaction, token.token()).expect("a verdict");
    rotate(&mut transaction, child.token()).expect("a verdict");
    for presented in [&token, &child] {
        rotate(&mut transaction, presented.token()).expect("a verdict");
    }
    transaction.rollback().expect("a rollback");
    wait_until("the worker is gone", || workers(client) == 0);
    assert!(is_live(client, &token));
    assert_eq!(events(client, "alice"), Vec::<String>::new());
    let grant = rotate(client, token.token()).expect("a verdict");
    assert_eq!(grant.status, "rotated");
}

/// Nor is one what was seen of rows that the transaction itself had changed.
#[test]
fn the_reuse_of_a_token_that_was_never_so_old_is_none() {
    let database = Database::create_alone();
    let client = &mut database.connect();
    let first = issue(client, "alice");
    let child = rotate(client, first.token()).expect("a verdict");
    let mut transaction = client.transaction().expect("a transaction");
    pass_time(&mut transaction, first.session(), "1 hour");
    present(&mut transaction, &[first.clone(), child.clone()]);
    transaction.rollback().expect("a rollback");
    wait_until("the worker is gone", || workers(client) == 0);
    assert!(is_live(client, &first));
    let retry = rotate(client, first.token()).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token),
        ("retried", child.token)
    );
}

#[test]
fn what_the_settings_leave_alone_the_worker_leaves_alone() {
    let database = Database::create_alone();
    let client = &mut database.connect();
    for (setting, live, recorded) in [
        ("refresh_tokens.durable_reuse = off", true, 0),
        ("refresh_tokens.reuse_action = 'reject'", true, 1),
        ("refresh_tokens.events = 'none'", false, 0),
    ] {
        let family = family(client, setting);
        let sql = format!("SET {setting}");
        client.batch_execute(&sql).expect("a setting");
        let mut transaction = client.transaction().expect("a transaction");
        present(&mut transaction, &family);
        transaction.rollback().expect("a rollback");
        wait_until("the worker is gone", || workers(client) == 0);
        assert_eq!(is_live(client, &family[0]), live, "{setting}");
        assert_eq!(events(client, setting).len(), recorded, "{setting}");
        client.batch_execute("RESET ALL").expect("a reset");
    }
}

/// Whoever undoes many verdicts at once takes no more than two of the server's workers, and every family ends for which
/// there was one.
#[test]
fn no_crowd_takes_more_than_two_workers() {
    const CROWD: usize = 12;
    let cluster = Arc::new(Cluster::start(&[]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let families: Vec<_> = (0..CROWD)
        .map(|n| family(client, &format!("user {n}")))
        .collect();
    let mut racers = Racers::new(&database, CROWD);
    let most: Vec<i64> = racers.at_once(|n, racer| {
        let mut transaction = racer.transaction().expect("a transaction");
        present(&mut transaction, &families[n]);
        let seen = workers(&mut transaction);
        transaction.rollback().expect("a rollback");
        seen
    });
    assert!(most.iter().all(|&seen| seen <= 2), "{most:?}");
    wait_until("the workers are gone", || workers(client) == 0);
    let log = fs::read_to_string(cluster.log()).expect("a log");
    let warned = log
        .matches("WARNING:  the reuse of a refresh token")
        .count();
    let alive = (families.iter())
        .filter(|family| is_live(client, &family[0]))
        .count();
    assert!(alive <= warned && warned < CROWD, "{alive} {warned}");
    assert_invariants(client);
}

/// Where there is no worker to be had, the log says so, and a commit does what it always did.
#[test]
fn without_a_worker_the_log_says_so() {
    let cluster = Arc::new(Cluster::start(&[
        "max_worker_processes = 0",
        "log_min_error_statement = 'debug5'",
    ]));
    let database = Database::create_in(&cluster);
    let client = &mut database.connect();
    let family = family(client, "alice");
    let sql = PRESENT.replace("$1", &format!("'{}'", family[0].token()));
    client.simple_query(&sql).expect("a verdict");
    assert!(!is_live(client, &family[0]));
    let log = fs::read_to_string(cluster.log()).expect("a log");
    let warning = "WARNING:  the reuse of a refresh token may be undone with its transaction";
    assert_eq!(log.matches(warning).count(), 1);
    assert!(!log.contains(family[0].token()));
}

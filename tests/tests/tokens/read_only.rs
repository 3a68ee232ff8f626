//! Where nothing can be written: in a read-only transaction, and on a hot standby.

use postgres::{Client, GenericClient};
use refresh_tokens_tests::format::{digest, unknown_token};
use refresh_tokens_tests::{
    Cluster, Database, Racer, assert_invariants, contents, error_code, explain, issue, rotate,
    wait_for_replay, wait_until, waits,
};
use std::sync::Arc;
use std::thread;
use uuid::Uuid;

/// A user with a family of three tokens, of which the last is live.
struct Family {
    user: String,
    session: Uuid,
    tokens: Vec<String>,
}

impl Family {
    fn new(client: &mut Client) -> Self {
        let user = Uuid::new_v4().to_string();
        let first = issue(client, &user);
        let second = rotate(client, first.token()).expect("a verdict");
        let third = rotate(client, second.token()).expect("a verdict");
        let tokens = [&first, &second, &third].map(|grant| grant.token().to_owned());
        Self {
            user,
            session: first.session(),
            tokens: tokens.to_vec(),
        }
    }
}

/// The calls that write, or would if there were something to write.
fn writing_calls(family: &Family) -> Vec<String> {
    let Family {
        user,
        session,
        tokens,
    } = family;
    let [first, second, live] = [&tokens[0], &tokens[1], &tokens[2]];
    let (unknown, nobody) = (unknown_token(), Uuid::new_v4());
    vec![
        format!("issue_refresh_token('{user}')"),
        format!("issue_refresh_token('{user}', '{session}')"),
        format!("issue_refresh_token('{user}', '{nobody}')"),
        format!("rotate_refresh_token('{live}')"),
        format!("rotate_refresh_token('{live}', 'another client')"),
        format!("rotate_refresh_token('{second}')"),
        format!("rotate_refresh_token('{first}')"),
        format!("rotate_refresh_token('{unknown}')"),
        format!("revoke_refresh_token('{live}')"),
        format!("revoke_refresh_token('{first}')"),
        format!("revoke_refresh_token('{unknown}')"),
        format!("revoke_token_family('{first}')"),
        format!("revoke_token_family('{}')", digest(live)),
        "revoke_token_family('anything')".to_owned(),
        format!("revoke_session('{session}')"),
        format!("revoke_session('{nobody}')"),
        format!("revoke_user_sessions('{user}')"),
        format!("revoke_user_sessions('{user}', '{session}')"),
        "revoke_user_sessions('nobody')".to_owned(),
        "grant_refresh_token_role('postgres', 'client')".to_owned(),
    ]
}

fn value<T: for<'a> postgres::types::FromSql<'a>>(
    client: &mut impl GenericClient,
    call: &str,
) -> T {
    let row = client.query_one(&format!("SELECT auth.{call}"), &[]);
    row.expect("a value").get(0)
}

/// Asserts that nothing can be written in what `begin` begins, that this is said, and that all that
/// only reads is answered.
fn assert_reads_only(client: &mut Client, family: &Family, begin: &str) {
    let run = |client: &mut Client, sql: &str| client.batch_execute(sql).expect("a statement");
    for call in writing_calls(family) {
        run(client, begin);
        let result = client.batch_execute(&format!("SELECT auth.{call}"));
        assert_eq!(error_code(result), "25006", "{call} after {begin}");
        run(client, "ROLLBACK");
    }

    run(client, begin);
    // What is no token is told so before anybody looks where this is.
    for junk in [
        "",
        "pgrt_",
        "something",
        &digest(&family.tokens[2]),
        &family.tokens[2].to_uppercase(),
    ] {
        assert_eq!(rotate(client, junk).expect("a verdict").status, "malformed");
        assert_eq!(explain(client, junk).status, "malformed");
        assert_eq!(
            value::<i64>(client, &format!("revoke_refresh_token('{junk}')")),
            0
        );
    }
    assert_eq!(value::<i64>(client, "revoke_refresh_token(NULL)"), 0);
    assert_eq!(value::<i64>(client, "revoke_token_family(NULL)"), 0);
    assert_eq!(value::<i64>(client, "revoke_session(NULL)"), 0);

    for (token, status) in family.tokens.iter().zip(["retried", "retried", "rotated"]) {
        let foretold = explain(client, token);
        assert_eq!(
            (foretold.status.as_str(), foretold.token.as_deref()),
            (status, None)
        );
        assert_eq!(foretold.session_id, Some(family.session));
    }
    assert_eq!(explain(client, &unknown_token()).status, "not_found");
    let live: bool = value(client, &format!("is_session_live('{}')", family.session));
    assert!(live);
    let live: bool = value(client, &format!("is_session_live('{}')", Uuid::new_v4()));
    assert!(!live);
    let sql = "SELECT count(*) FROM auth.draw_token_family($1)";
    let row = client.query_one(sql, &[&family.session]);
    assert_eq!(row.expect("a drawing").get::<_, i64>(0), 3);
    run(client, "COMMIT");
}

/// A database where an honest retry is one however slow the machine is.
fn database_in(cluster: &Arc<Cluster>) -> Database {
    let database = Database::create_in(cluster);
    let sql = format!(
        "ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h'",
        database.name
    );
    database.connect().batch_execute(&sql).expect("a setting");
    database
}

#[test]
fn a_read_only_transaction_reads_and_changes_nothing() {
    let database = database_in(&Cluster::shared());
    let client = &mut database.connect();
    let family = Family::new(client);
    let before = contents(client);
    for (setting, begin) in [
        ("off", "BEGIN READ ONLY"),
        ("off", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        (
            "off",
            "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        ),
        ("on", "BEGIN"),
    ] {
        let setting = format!("SET default_transaction_read_only = {setting}");
        // In a backend that has no plan yet, and in one that has them all.
        for client in [&mut database.connect(), &mut *client] {
            client.batch_execute(&setting).expect("a setting");
            assert_reads_only(client, &family, begin);
            client.batch_execute("RESET ALL").expect("a reset");
        }
    }
    assert_eq!(contents(client), before);
    assert_eq!(
        rotate(client, &family.tokens[2]).expect("a verdict").status,
        "rotated"
    );
    assert_invariants(client);
}

/// PostgREST answers a GET in such a transaction, in which nobody waits for anybody.
#[test]
fn what_reads_waits_for_no_rotation() {
    let database = database_in(&Cluster::shared());
    let client = &mut database.connect();
    let family = Family::new(client);
    let holder = &mut database.connect();
    let mut transaction = holder.transaction().expect("a transaction");
    assert_eq!(
        rotate(&mut transaction, &family.tokens[2])
            .expect("a verdict")
            .status,
        "rotated"
    );
    client
        .batch_execute("SET lock_timeout = 1")
        .expect("a setting");
    assert_reads_only(client, &family, "BEGIN READ ONLY");
    transaction.commit().expect("a commit");
}

#[test]
fn a_transaction_that_turned_read_only_keeps_what_it_wrote() {
    let database = database_in(&Cluster::shared());
    let client = &mut database.connect();
    let family = Family::new(client);
    let mut transaction = client.transaction().expect("a transaction");
    let child = rotate(&mut transaction, &family.tokens[2]).expect("a verdict");
    transaction
        .batch_execute("SET transaction_read_only = on")
        .expect("a setting");
    // It sees its own work, for which it has a transaction id by now.
    assert_eq!(
        explain(&mut transaction, &family.tokens[2]).status,
        "retried"
    );
    assert_eq!(explain(&mut transaction, child.token()).status, "rotated");
    let mut savepoint = transaction.transaction().expect("a savepoint");
    assert_eq!(error_code(rotate(&mut savepoint, child.token())), "25006");
    savepoint.rollback().expect("a rollback");
    transaction.commit().expect("a commit");
    assert_eq!(
        rotate(client, child.token()).expect("a verdict").status,
        "rotated"
    );
    assert_invariants(client);
}

#[test]
fn a_hot_standby_reads_follows_and_takes_over() {
    let primary = Arc::new(Cluster::start(&[]));
    let database = database_in(&primary);
    let client = &mut database.connect();
    let family = Family::new(client);
    let ended = Family::new(client);
    let standby = primary.standby();
    wait_for_replay(&primary, &standby);

    // In a backend of the standby that is new, and then in the same one once more, with its plans.
    let mut reader = standby.connect(&database.name, "postgres");
    let before = contents(&mut reader);
    for begin in [
        "BEGIN",
        "BEGIN",
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
    ] {
        assert_reads_only(&mut reader, &family, begin);
    }
    assert_eq!(contents(&mut reader), before);
    assert_eq!(contents(client), before);

    // A logout on the primary is seen as soon as it has arrived.
    let is_live = format!("is_session_live('{}')", ended.session);
    assert!(value::<bool>(&mut reader, &is_live));
    assert_eq!(
        value::<i64>(client, &format!("revoke_session('{}')", ended.session)),
        1
    );
    let child = rotate(client, &family.tokens[2]).expect("a verdict");
    assert_eq!(child.status, "rotated");
    wait_for_replay(&primary, &standby);
    assert!(!value::<bool>(&mut reader, &is_live));
    assert_eq!(explain(&mut reader, &ended.tokens[2]).status, "revoked");
    assert_eq!(explain(&mut reader, &family.tokens[2]).status, "retried");
    assert_eq!(explain(&mut reader, child.token()).status, "rotated");
    assert_eq!(error_code(rotate(&mut reader, child.token())), "25006");

    primary.stop("immediate");
    standby.promote();
    wait_until("the standby is the primary", || {
        let sql = "SELECT NOT pg_catalog.pg_is_in_recovery()";
        reader.query_one(sql, &[]).expect("a value").get(0)
    });
    // In the very backend that was refused so often; what was retried before is retried now.
    let retry = rotate(&mut reader, &family.tokens[0]).expect("a verdict");
    assert_eq!(
        (retry.status.as_str(), retry.token()),
        ("retried", child.token())
    );
    let next = rotate(&mut reader, child.token()).expect("a verdict");
    assert_eq!(next.status, "rotated");
    assert!(next.token_id > child.token_id, "ids go on");
    assert_eq!(
        rotate(&mut reader, &ended.tokens[2])
            .expect("a verdict")
            .status,
        "revoked"
    );
    let after = Family::new(&mut reader);
    assert_eq!(
        rotate(&mut reader, &after.tokens[2])
            .expect("a verdict")
            .status,
        "rotated"
    );
    assert_invariants(&mut reader);
}

/// A rotation that had not committed when the primary died never was: the promoted standby gives the
/// token to whoever comes with it.
#[test]
fn a_rotation_cut_off_by_the_end_of_the_primary_was_none() {
    let primary = Arc::new(Cluster::start(&[]));
    let database = database_in(&primary);
    let family = Family::new(&mut database.connect());
    let standby = primary.standby();
    let live = &family.tokens[2];
    let holder = &mut database.connect();
    let mut transaction = holder.transaction().expect("a transaction");
    let undone = rotate(&mut transaction, live).expect("a verdict");
    assert_eq!(undone.status, "rotated");
    let client = &mut database.connect();
    let mut waiter = Racer::new(&database);
    thread::scope(|scope| {
        let pid = waiter.pid;
        let call = scope.spawn(|| rotate(&mut waiter.client, live));
        wait_until("the call waits", || waits(client, pid));
        // Something committed after it, so that it has arrived as far as it ever will.
        issue(client, "somebody");
        wait_for_replay(&primary, &standby);
        primary.stop("immediate");
        call.join()
            .expect("the racer comes home")
            .expect_err("its server is gone");
    });
    standby.promote();
    let mut client = standby.connect(&database.name, "postgres");
    assert_eq!(explain(&mut client, undone.token()).status, "not_found");
    let child = rotate(&mut client, live).expect("a verdict");
    assert_eq!(child.status, "rotated");
    assert_ne!(child.token_id, undone.token_id);
    assert_invariants(&mut client);
}

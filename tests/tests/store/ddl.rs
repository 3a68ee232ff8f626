//! Tables, indexes, types and the extension itself change hands before a call and while one waits: each call gets an
//! answer or an error that says what is missing. No server falls, and no error is an internal one.

use postgres::{Client, Error};
use refresh_tokens_tests::{
    Database, Racer, assert_invariants, backend_pid, broken_invariants, by_statements, explain,
    issue, rotate, wait_until, waits,
};
use std::thread;

/// A family of its own for each call.
struct Family {
    user: String,
    /// Whose parent is revoked.
    live: String,
    parent: String,
    session: String,
}

impl Family {
    fn new(client: &mut Client, user: String) -> Self {
        let first = issue(client, &user);
        let second = rotate(client, first.token()).expect("a verdict");
        Self {
            user,
            live: second.token().to_owned(),
            parent: first.token().to_owned(),
            session: first.session().to_string(),
        }
    }
}

/// Every function that touches a table, in a query for one text. Claims are those of an access token of the family.
const CALLS: [&str; 29] = [
    "SELECT status::text FROM auth.rotate_refresh_token('{live}', ip => '10.0.0.1')",
    "SELECT status::text FROM auth.rotate_refresh_token('{parent}')",
    "SELECT status::text FROM auth.explain_refresh_token('{live}')",
    "SELECT status::text FROM auth.explain_refresh_token('{parent}')",
    "SELECT status::text FROM auth.issue_refresh_token('{user}')",
    "SELECT status::text FROM auth.issue_refresh_token('{user}', '{session}')",
    "SELECT status::text FROM auth.issue_refresh_token('{user}', aal => 'aal2')",
    "SELECT auth.revoke_refresh_token('{live}')::text",
    "SELECT auth.revoke_token_family('{parent}')::text",
    "SELECT auth.revoke_session('{session}')::text",
    "SELECT auth.revoke_user_sessions('{user}')::text",
    "SELECT auth.introspect_refresh_token('{live}')::text",
    "SELECT auth.is_session_live('{session}')::text",
    "SELECT count(*)::text FROM auth.list_sessions('{user}')",
    "SELECT count(*)::text FROM auth.list_my_sessions()",
    "SELECT count(*)::text FROM auth.my_sessions",
    "SELECT auth.revoke_my_session('{session}')::text",
    "SELECT auth.revoke_my_other_sessions()::text",
    "SELECT auth.is_my_session_live()::text",
    "SELECT auth.check_session()::text",
    "SELECT count(*)::text FROM auth.draw_token_family('{session}')",
    "SELECT auth.purge_refresh_tokens(10)::text",
    "SELECT live_tokens::text FROM auth.refresh_token_stats",
    r#"SELECT auth.token('{"grant_type": "refresh_token", "refresh_token": "{live}"}'::jsonb)::text"#,
    r#"SELECT auth.revoke('{"token": "{live}"}'::jsonb)::text"#,
    r#"SELECT auth.introspect('{"token": "{live}"}'::jsonb)::text"#,
    "SELECT auth.sign_in_response('{user}')::text",
    "SELECT auth.jwks()::text",
    "SELECT auth.rotate_signing_key()::text",
];

/// Calls a function, whatever it gives.
fn call(client: &mut Client, family: &Family, sql: &str) -> Result<(), Error> {
    let claims = format!(
        r#"{{"sub": "{}", "session_id": "{}"}}"#,
        family.user, family.session
    );
    let sql = sql
        .replace("{live}", &family.live)
        .replace("{parent}", &family.parent)
        .replace("{user}", &family.user)
        .replace("{session}", &family.session);
    let set = format!("SET request.jwt.claims = '{claims}'");
    client.batch_execute(&set)?;
    client.simple_query(&sql).map(drop)
}

/// What is done to an object of ours, and what brings it back, so that the invariants can be looked at; where nothing
/// does, they are not.
struct Change {
    what: &'static str,
    sql: &'static str,
    back: Option<&'static str>,
}

const fn change(what: &'static str, sql: &'static str, back: Option<&'static str>) -> Change {
    Change { what, sql, back }
}

const CHANGES: [Change; 33] = [
    change(
        "the tokens' table renamed",
        "ALTER TABLE auth.refresh_tokens RENAME TO old_tokens",
        Some("ALTER TABLE auth.old_tokens RENAME TO refresh_tokens"),
    ),
    change(
        "the sessions' table renamed",
        "ALTER TABLE auth.sessions RENAME TO old_sessions",
        Some("ALTER TABLE auth.old_sessions RENAME TO sessions"),
    ),
    change(
        "the events' table renamed",
        "ALTER TABLE auth.refresh_token_events RENAME TO old_events",
        Some("ALTER TABLE auth.old_events RENAME TO refresh_token_events"),
    ),
    change(
        "the keys' table renamed",
        "ALTER TABLE auth.signing_keys RENAME TO old_keys",
        Some("ALTER TABLE auth.old_keys RENAME TO signing_keys"),
    ),
    change(
        "the tokens' table moved",
        "CREATE SCHEMA other; ALTER TABLE auth.refresh_tokens SET SCHEMA other",
        Some("ALTER TABLE other.refresh_tokens SET SCHEMA auth"),
    ),
    change(
        "the sessions' table moved",
        "CREATE SCHEMA other; ALTER TABLE auth.sessions SET SCHEMA other",
        Some("ALTER TABLE other.sessions SET SCHEMA auth"),
    ),
    change(
        "the events' table moved",
        "CREATE SCHEMA other; ALTER TABLE auth.refresh_token_events SET SCHEMA other",
        Some("ALTER TABLE other.refresh_token_events SET SCHEMA auth"),
    ),
    change(
        "the keys' table moved",
        "CREATE SCHEMA other; ALTER TABLE auth.signing_keys SET SCHEMA other",
        Some("ALTER TABLE other.signing_keys SET SCHEMA auth"),
    ),
    change(
        "the tokens' table dropped",
        "ALTER EXTENSION refresh_tokens DROP SEQUENCE auth.refresh_tokens_id_seq;
         ALTER EXTENSION refresh_tokens DROP TABLE auth.refresh_tokens; DROP TABLE auth.refresh_tokens CASCADE",
        None,
    ),
    change(
        "the sessions' table dropped",
        "ALTER EXTENSION refresh_tokens DROP TABLE auth.sessions; DROP TABLE auth.sessions CASCADE",
        None,
    ),
    change(
        "the events' table dropped",
        "ALTER EXTENSION refresh_tokens DROP SEQUENCE auth.refresh_token_events_id_seq;
         ALTER EXTENSION refresh_tokens DROP TABLE auth.refresh_token_events; DROP TABLE auth.refresh_token_events CASCADE",
        Some(""),
    ),
    change(
        "the keys' table dropped",
        "ALTER EXTENSION refresh_tokens DROP TABLE auth.signing_keys; DROP TABLE auth.signing_keys CASCADE",
        Some(""),
    ),
    change(
        "the tokens' table swapped for a view",
        "ALTER TABLE auth.refresh_tokens RENAME TO old_tokens; CREATE VIEW auth.refresh_tokens AS TABLE auth.old_tokens",
        Some("DROP VIEW auth.refresh_tokens; ALTER TABLE auth.old_tokens RENAME TO refresh_tokens"),
    ),
    change(
        "the sessions' table swapped for a view",
        "ALTER TABLE auth.sessions RENAME TO old_sessions; CREATE VIEW auth.sessions AS TABLE auth.old_sessions",
        Some("DROP VIEW auth.sessions; ALTER TABLE auth.old_sessions RENAME TO sessions"),
    ),
    change(
        "an index in the place of the sessions' table",
        "ALTER TABLE auth.sessions RENAME TO old_sessions; CREATE INDEX sessions ON auth.old_sessions (tag)",
        Some("DROP INDEX auth.sessions; ALTER TABLE auth.old_sessions RENAME TO sessions"),
    ),
    change(
        "an empty table in the place of the sessions'",
        "ALTER TABLE auth.sessions RENAME TO old_sessions; CREATE TABLE auth.sessions ()",
        Some("DROP TABLE auth.sessions; ALTER TABLE auth.old_sessions RENAME TO sessions"),
    ),
    change(
        "the tokens' table swapped for a copy",
        "CREATE TABLE auth.new_tokens (LIKE auth.refresh_tokens INCLUDING ALL);
         INSERT INTO auth.new_tokens TABLE auth.refresh_tokens;
         ALTER TABLE auth.refresh_tokens RENAME TO old_tokens;
         ALTER TABLE auth.new_tokens RENAME TO refresh_tokens",
        Some(""),
    ),
    change(
        "the sessions' table swapped for a copy",
        "CREATE TABLE auth.new_sessions (LIKE auth.sessions INCLUDING ALL);
         INSERT INTO auth.new_sessions TABLE auth.sessions;
         ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey;
         ALTER TABLE auth.sessions RENAME TO old_sessions;
         ALTER TABLE auth.new_sessions RENAME TO sessions;
         ALTER TABLE auth.refresh_tokens ADD FOREIGN KEY (session_id) REFERENCES auth.sessions ON DELETE CASCADE",
        Some(""),
    ),
    change(
        "the events' table swapped for a copy",
        "CREATE TABLE auth.new_events (LIKE auth.refresh_token_events INCLUDING ALL);
         ALTER TABLE auth.refresh_token_events RENAME TO old_events;
         ALTER TABLE auth.new_events RENAME TO refresh_token_events",
        Some(""),
    ),
    change(
        "the sequence renamed",
        "ALTER SEQUENCE auth.refresh_tokens_id_seq RENAME TO old_seq",
        Some(""),
    ),
    change(
        "the sequence dropped",
        "ALTER EXTENSION refresh_tokens DROP SEQUENCE auth.refresh_tokens_id_seq;
         DROP SEQUENCE auth.refresh_tokens_id_seq CASCADE",
        Some(""),
    ),
    change(
        "the events' sequence dropped",
        "ALTER EXTENSION refresh_tokens DROP SEQUENCE auth.refresh_token_events_id_seq;
         DROP SEQUENCE auth.refresh_token_events_id_seq CASCADE",
        Some(""),
    ),
    change(
        "every index renamed",
        "DO $$ DECLARE name text; BEGIN
             FOR name IN SELECT indexname FROM pg_indexes WHERE schemaname = 'auth' LOOP
                 EXECUTE format('ALTER INDEX auth.%I RENAME TO %I', name, 'old_' || name);
             END LOOP; END $$",
        Some(""),
    ),
    change(
        "two indexes that swap names",
        "ALTER INDEX auth.refresh_tokens_token_unique RENAME TO another;
         ALTER INDEX auth.refresh_tokens_parent_idx RENAME TO refresh_tokens_token_unique",
        Some(""),
    ),
    change(
        "no constraint of tokens",
        "ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_pkey, DROP CONSTRAINT refresh_tokens_token_unique,
             DROP CONSTRAINT refresh_tokens_session_id_fkey",
        Some(""),
    ),
    change(
        "no key of sessions",
        "ALTER TABLE auth.sessions DROP CONSTRAINT sessions_pkey CASCADE",
        Some(""),
    ),
    change(
        "no index but those of constraints",
        "DROP INDEX auth.refresh_tokens_instance_id_idx, auth.refresh_tokens_instance_id_user_id_idx,
             auth.refresh_tokens_parent_idx, auth.refresh_tokens_session_id_revoked_idx, auth.refresh_tokens_updated_at_idx,
             auth.sessions_user_id_idx, auth.sessions_not_after_idx",
        Some(""),
    ),
    change(
        "the views dropped",
        "ALTER EXTENSION refresh_tokens DROP VIEW auth.my_sessions; DROP VIEW auth.my_sessions;
         ALTER EXTENSION refresh_tokens DROP VIEW auth.refresh_token_stats; DROP VIEW auth.refresh_token_stats",
        Some(""),
    ),
    change(
        "the types renamed",
        "ALTER TYPE auth.aal_level RENAME TO old_level; ALTER TYPE auth.refresh_token_status RENAME TO old_status;
         ALTER TYPE auth.refresh_token_grant RENAME TO old_grant",
        Some(""),
    ),
    change(
        "the functions' schema changed",
        "CREATE SCHEMA other; ALTER FUNCTION auth.rotate_refresh_token SET SCHEMA other;
         ALTER FUNCTION auth.purge_refresh_tokens SET SCHEMA other",
        Some(""),
    ),
    change(
        "the schema renamed",
        "ALTER SCHEMA auth RENAME TO auth2",
        Some("ALTER SCHEMA auth2 RENAME TO auth"),
    ),
    change("the extension dropped", "DROP EXTENSION refresh_tokens CASCADE", None),
    change(
        "the extension dropped and created",
        "DROP EXTENSION refresh_tokens CASCADE; CREATE EXTENSION refresh_tokens",
        Some(""),
    ),
];

/// What every call waits for.
const LOCK: &str =
    "LOCK TABLE auth.refresh_tokens, auth.sessions, auth.refresh_token_events, auth.signing_keys";

/// A database with a key, and a connection that notices if the server falls.
fn database() -> (Database, Client) {
    let database = Database::create();
    let mut client = database.connect();
    client
        .batch_execute("SELECT auth.rotate_signing_key()")
        .expect("a key");
    (database, client)
}

/// What is wrong with `result`, which is an answer or an error that anybody can read.
///
/// One internal error is not ours: PostgreSQL opens the type of a function's answer while it analyses the caller's
/// statement, and doesn't look whether it was dropped while it waited for that. No function has been called then.
fn fault(result: &Result<(), Error>) -> Option<String> {
    let error = result.as_ref().err()?;
    match error.as_db_error() {
        Some(error) if !error.code().code().starts_with("XX") => None,
        Some(error) if error.routine() == Some("relation_open") && error.where_().is_none() => None,
        Some(error) => Some(format!("{}: {}", error.code().code(), error.message())),
        None => Some(format!("the connection is gone: {error}")),
    }
}

/// Whether PostgreSQL raises the error, before it calls a function of ours: the statement of the caller waits for the row
/// type, which is dropped meanwhile.
fn is_of_the_caller(fault: &str, change: &Change) -> bool {
    change.what.starts_with("the extension dropped")
        && fault.contains("could not open relation with OID")
}

/// A connection that has every plan.
fn warmed(database: &Database) -> Client {
    let mut client = database.connect();
    for (at, sql) in CALLS.iter().enumerate() {
        let family = Family::new(&mut client, format!("warm {at}"));
        call(&mut client, &family, sql).expect(sql);
    }
    client
}

/// The tables are sound once they are back.
fn assert_sound(client: &mut Client, change: &Change) {
    if let Some(back) = change.back {
        client.batch_execute(back).expect(change.what);
        assert_eq!(broken_invariants(client), [], "{}", change.what);
    }
}

/// The results of all calls, which wait while `change` is made and commits.
fn beside(
    gate: &mut Client,
    lock: &str,
    change: &Change,
    racers: &mut [Racer],
    families: &[Family],
) -> Vec<Result<(), Error>> {
    thread::scope(|scope| {
        let mut gate = gate.transaction().expect("a transaction");
        let sql = format!("{lock}; {}", change.sql);
        gate.batch_execute(&sql).expect(change.what);
        let mut threads = Vec::with_capacity(racers.len());
        for (number, racer) in racers.iter_mut().enumerate() {
            let pid = racer.pid;
            let client = &mut racer.client;
            let thread = scope.spawn(move || call(client, &families[number], CALLS[number / 2]));
            wait_until("the call waits for a lock, or has ended", || {
                thread.is_finished() || waits(&mut gate, pid)
            });
            threads.push(thread);
        }
        gate.commit().expect(change.what);
        (threads.into_iter())
            .map(|thread| thread.join().expect("an end"))
            .collect()
    })
}

#[test]
fn what_was_renamed_moved_or_dropped_before_a_call_is_no_internal_error() {
    let mut faults = Vec::new();
    for change in &CHANGES {
        let (database, mut client) = database();
        let client = &mut client;
        let pid = backend_pid(client);
        let (kept, fresh) = (&mut warmed(&database), &mut database.connect());
        let families: Vec<_> = (0..CALLS.len() * 2)
            .map(|n| Family::new(client, format!("user {n}")))
            .collect();
        client.batch_execute(change.sql).expect(change.what);
        for (at, sql) in CALLS.iter().enumerate() {
            let sql = match change.what {
                "the schema renamed" => sql.replace("auth.", "auth2."),
                "the functions' schema changed" if sql.contains("auth.rotate_refresh") => {
                    sql.replace("auth.", "other.")
                }
                _ => (*sql).to_owned(),
            };
            let results = [
                ("kept", call(kept, &families[2 * at], &sql)),
                ("fresh", call(fresh, &families[2 * at + 1], &sql)),
            ];
            for (connection, result) in results {
                let fault = fault(&result);
                faults.extend(fault.map(|f| format!("{}, {connection}: {sql}: {f}", change.what)));
            }
        }
        assert_eq!(backend_pid(client), pid);
        assert_sound(client, change);
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What is wrong with the calls that wait for `lock` while `change` is made.
fn faults_beside(change: &Change, lock: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (database, mut client) = database();
    let client = &mut client;
    let pid = backend_pid(client);
    // each call in a connection of its own; of two, the first has its plan
    let mut racers: Vec<_> = (0..CALLS.len() * 2)
        .map(|_| Racer::new(&database))
        .collect();
    for (number, sql) in CALLS.iter().enumerate() {
        let racer = &mut racers[2 * number];
        let family = Family::new(client, format!("warm {number}"));
        call(&mut racer.client, &family, sql).expect(sql);
    }
    let families: Vec<_> = (0..racers.len())
        .map(|n| Family::new(client, format!("user {n}")))
        .collect();
    let gate = &mut database.connect();
    let results = beside(gate, lock, change, &mut racers, &families);
    for (number, result) in results.iter().enumerate() {
        let (connection, sql) = (["kept", "fresh"][number % 2], CALLS[number / 2]);
        let fault = fault(result).filter(|fault| lock != LOCK || !is_of_the_caller(fault, change));
        faults.extend(fault.map(|f| format!("{}, {connection}: {sql}: {f}", change.what)));
    }
    assert_eq!(backend_pid(client), pid);
    assert_sound(client, change);
    faults
}

#[test]
fn what_is_renamed_moved_or_dropped_while_a_call_waits_is_no_internal_error() {
    let faults: Vec<_> = (CHANGES.iter())
        .flat_map(|change| faults_beside(change, LOCK))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What rewrites or swaps a table under a waiting rotation, which goes on in the table that has the name then.
const SWAPS: [&str; 4] = [
    "CREATE TABLE auth.new_tokens (LIKE auth.refresh_tokens INCLUDING ALL);
     INSERT INTO auth.new_tokens TABLE auth.refresh_tokens;
     ALTER TABLE auth.refresh_tokens RENAME TO old_tokens;
     ALTER TABLE auth.new_tokens RENAME TO refresh_tokens",
    "CREATE TABLE auth.new_sessions (LIKE auth.sessions INCLUDING ALL);
     INSERT INTO auth.new_sessions TABLE auth.sessions;
     ALTER TABLE auth.refresh_tokens DROP CONSTRAINT refresh_tokens_session_id_fkey;
     ALTER TABLE auth.sessions RENAME TO old_sessions;
     ALTER TABLE auth.new_sessions RENAME TO sessions",
    "ALTER TABLE auth.sessions ADD region uuid DEFAULT gen_random_uuid()",
    "ALTER TABLE auth.refresh_tokens ALTER id TYPE int; ALTER TABLE auth.refresh_tokens ALTER id TYPE bigint",
];

#[test]
fn a_rotation_that_waited_writes_into_the_table_that_has_the_name() {
    for (sql, statements, kept) in SWAPS
        .iter()
        .flat_map(|sql| [(sql, false), (sql, true)])
        .flat_map(|(sql, statements)| [(sql, statements, false), (sql, statements, true)])
    {
        let database = Database::create();
        let client = &mut database.connect();
        if statements {
            by_statements(client);
        }
        let mut racer = Racer::new(&database);
        if kept {
            let first = issue(&mut racer.client, "warm");
            rotate(&mut racer.client, first.token()).expect("a verdict");
        }
        let first = issue(client, "alice");
        let token = first.token().to_owned();
        let gate = &mut database.connect();
        let mut gate = gate.transaction().expect("a transaction");
        gate.batch_execute(&format!("{LOCK}; {sql}")).expect(sql);
        let pid = racer.pid;
        let rotation = thread::spawn(move || rotate(&mut racer.client, &token).expect("a verdict"));
        wait_until("the rotation waits", || waits(&mut gate, pid));
        gate.commit().expect(sql);
        let grant = rotation.join().expect("an answer");
        assert_eq!(
            grant.status, "rotated",
            "{sql}, by statements: {statements}, kept: {kept}"
        );
        assert_invariants(client);
        // the used token is not live in the table that counts
        assert_eq!(explain(client, first.token()).status, "retried");
        assert_eq!(
            rotate(client, grant.token()).expect("a verdict").status,
            "rotated"
        );
    }
}

/// What changes while calls wait for the rows of all sessions, without a lock that these hold.
#[test]
fn what_changes_while_a_call_waits_for_a_row_is_no_internal_error() {
    let is_light = |change: &&Change| {
        [
            "every index renamed",
            "two indexes that swap names",
            "the types renamed",
            "the functions' schema changed",
            "the schema renamed",
        ]
        .contains(&change.what)
    };
    let lock = "SELECT FROM auth.sessions FOR UPDATE";
    let faults: Vec<_> = (CHANGES.iter().filter(is_light))
        .flat_map(|change| faults_beside(change, lock))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

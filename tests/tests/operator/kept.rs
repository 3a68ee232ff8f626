//! Rows of an application's that refer to a session by a foreign key keep it, and stop no purge.

use postgres::{Client, NoTls};
use refresh_tokens_tests::{Cluster, Database, assert_invariants, issue, pass_time, wait_until};
use std::fs;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// A session that is over for long: `user`'s, who never ended it.
fn over(client: &mut Client, user: &str) -> Uuid {
    let session = issue(client, user).session();
    pass_time(client, session, "1 year");
    session
}

fn count(client: &mut Client, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    client.query_one(&sql, &[]).expect("a count").get(0)
}

fn purge(client: &mut Client, batch_size: i32) -> i64 {
    let sql = "SELECT auth.purge_refresh_tokens($1)";
    client
        .query_one(sql, &[&batch_size])
        .expect("a batch")
        .get(0)
}

fn execute(client: &mut Client, sql: &str) {
    let done = client.batch_execute(sql);
    assert!(done.is_ok(), "{sql}\n{done:?}");
}

/// What `auth.read_unpurgeable_sessions()` says, a line a row.
fn kept(client: &mut Client) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', referring_table, referring_constraint, sessions) FROM auth.read_unpurgeable_sessions()";
    let rows = client.query(sql, &[]).expect("rows");
    rows.iter().map(|row| row.get(0)).collect()
}

const AUDIT: &str = "CREATE TABLE audit (id int GENERATED ALWAYS AS IDENTITY, session_id uuid REFERENCES auth.sessions)";

#[test]
fn a_session_that_others_refer_to_stays_and_the_rest_goes() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, AUDIT);
    let sessions: Vec<_> = (0..30)
        .map(|n| over(&mut client, &format!("user {n}")))
        .collect();
    for session in sessions.iter().step_by(3) {
        let sql = "INSERT INTO audit (session_id) VALUES ($1), ($1), (NULL)";
        client.execute(sql, &[session]).expect("a row");
    }
    assert_eq!(
        purge(&mut client, 1000),
        30 + 20,
        "all tokens, and the other sessions"
    );
    assert_eq!(count(&mut client, "auth.sessions"), 10);
    assert_eq!(count(&mut client, "auth.refresh_tokens"), 0);
    assert_eq!(purge(&mut client, 1000), 0);
    assert_eq!(kept(&mut client), ["public.audit audit_session_id_fkey 10"]);
    assert_eq!(
        count(
            &mut client,
            "auth.refresh_token_stats WHERE purgeable_tokens = 0 AND live_sessions = 0"
        ),
        1
    );
    assert_invariants(&mut client);
    // Once nobody refers to them, they go.
    execute(&mut client, "DELETE FROM audit WHERE id % 2 = 0");
    execute(&mut client, "TRUNCATE audit");
    assert_eq!(purge(&mut client, 1000), 10);
    assert_eq!(kept(&mut client), [""; 0]);
}

#[test]
fn every_batch_size_ends() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, AUDIT);
    for batch_size in [1, 3, 7, 100] {
        for n in 0..20 {
            let session = over(&mut client, "somebody");
            if n % 2 == 0 {
                client
                    .execute("INSERT INTO audit (session_id) VALUES ($1)", &[&session])
                    .expect("a row");
            }
            if n % 4 == 0 {
                execute(
                    &mut client,
                    &format!("SELECT auth.revoke_session('{session}')"),
                );
                pass_time(&mut client, session, "1 year");
            }
        }
        let before =
            count(&mut client, "auth.sessions") + count(&mut client, "auth.refresh_tokens");
        let mut gone = 0;
        loop {
            let batch = purge(&mut client, batch_size);
            assert!(batch <= i64::from(batch_size));
            gone += batch;
            if batch < i64::from(batch_size) {
                break;
            }
        }
        let after = count(&mut client, "auth.sessions") + count(&mut client, "auth.refresh_tokens");
        assert_eq!(before - after, gone);
        assert_eq!(count(&mut client, "auth.refresh_tokens"), 0, "{batch_size}");
        assert_eq!(
            count(&mut client, "auth.sessions"),
            count(&mut client, "(SELECT DISTINCT session_id FROM audit) AS a")
        );
    }
}

/// What the function's owner can't read, what is deferred, what takes a part, and what is no obstacle.
#[test]
fn foreign_keys_of_all_kinds() {
    let database = Database::create();
    let mut client = database.connect();
    let owner = format!("{}_owner", database.name);
    let app = format!("{}_app", database.name);
    execute(
        &mut client,
        &format!(
            "CREATE ROLE {owner}; CREATE ROLE {app};
             SELECT auth.set_refresh_token_owner('{owner}');
             ALTER TABLE auth.sessions ADD UNIQUE (user_id, id);
             CREATE SCHEMA \"the App\" AUTHORIZATION {app};
             GRANT USAGE ON SCHEMA auth TO {app};
             GRANT REFERENCES ON auth.sessions TO {app};
             SET ROLE {app};
             CREATE TABLE \"the App\".\"a b\" (\"the session\" uuid REFERENCES auth.sessions ON DELETE RESTRICT);
             CREATE TABLE \"the App\".later (s uuid REFERENCES auth.sessions DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE \"the App\".pair (u varchar, s uuid, FOREIGN KEY (u, s) REFERENCES auth.sessions (user_id, id));
             CREATE TABLE \"the App\".part (n int, s uuid REFERENCES auth.sessions) PARTITION BY LIST (n);
             CREATE TABLE \"the App\".part_1 PARTITION OF \"the App\".part FOR VALUES IN (1);
             CREATE TABLE \"the App\".goes (s uuid REFERENCES auth.sessions ON DELETE CASCADE);
             CREATE TABLE \"the App\".loses (s uuid REFERENCES auth.sessions ON DELETE SET NULL);
             ALTER TABLE \"the App\".\"a b\" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             RESET ROLE"
        ),
    );
    let mut referred = Vec::new();
    for table in [
        "\"a b\"",
        "later",
        "pair (s, u)",
        "part (s, n)",
        "goes",
        "loses",
    ] {
        let session = over(&mut client, "alice");
        let more = match table {
            "pair (s, u)" => ", 'alice'",
            "part (s, n)" => ", 1",
            _ => "",
        };
        execute(
            &mut client,
            &format!("INSERT INTO \"the App\".{table} VALUES ('{session}'{more})"),
        );
        referred.push(session);
    }
    over(&mut client, "bob");
    assert_eq!(purge(&mut client, 1000), 7 + 3);
    let left = client
        .query("SELECT id FROM auth.sessions", &[])
        .expect("rows");
    let mut left: Vec<Uuid> = left.iter().map(|row| row.get(0)).collect();
    left.sort_unstable();
    referred.truncate(4);
    referred.sort_unstable();
    assert_eq!(left, referred);
    assert_eq!(
        kept(&mut client),
        [
            "\"the App\".\"a b\" a b_the session_fkey 1",
            "\"the App\".later later_s_fkey 1",
            "\"the App\".pair pair_u_s_fkey 1",
            "\"the App\".part part_s_fkey 1",
        ]
    );
    assert_eq!(count(&mut client, "\"the App\".goes"), 0);
    assert_eq!(count(&mut client, "\"the App\".loses WHERE s IS NULL"), 1);
}

#[test]
fn purge_all_says_which_table_keeps_how_many() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, AUDIT);
    for n in 0..12 {
        let session = over(&mut client, "somebody");
        if n < 5 {
            let sql = "INSERT INTO audit (session_id) VALUES ($1)";
            client.execute(sql, &[&session]).expect("a row");
        }
    }
    let notices = Arc::new(Mutex::new(Vec::new()));
    let mut config = database.cluster().config(&database.name, "postgres");
    let heard = Arc::clone(&notices);
    config.notice_callback(move |notice| {
        heard.lock().expect("one thread").push(format!(
            "{} | {}",
            notice.message(),
            notice.hint().unwrap_or_default()
        ));
    });
    let mut purger = config.connect(NoTls).expect("a connection");
    execute(&mut purger, "CALL auth.purge_all(4)");
    assert_eq!(
        *notices.lock().expect("one thread"),
        [
            "purge_all: 19 rows deleted | ",
            "purge_all: public.audit keeps 5 sessions by foreign key \"audit_session_id_fkey\" | Delete these rows, or \
             give the foreign key ON DELETE CASCADE or SET NULL."
        ]
    );
}

#[test]
fn the_worker_writes_it_to_the_log() {
    let cluster = Arc::new(Cluster::start(&[
        "shared_preload_libraries = 'refresh_tokens'",
        "refresh_tokens.purge_interval = '1 s'",
    ]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    execute(&mut client, AUDIT);
    let session = over(&mut client, "alice");
    let sql = "INSERT INTO audit (session_id) VALUES ($1)";
    client.execute(sql, &[&session]).expect("a row");
    over(&mut client, "bob");
    cluster.configure(&[&format!(
        "refresh_tokens.purge_databases = '{}'",
        database.name
    )]);
    execute(&mut client, "SELECT pg_reload_conf()");
    let line = "refresh_tokens: public.audit keeps 1 sessions from being purged by foreign key \"audit_session_id_fkey\"";
    wait_until("the worker has purged", || {
        fs::read_to_string(cluster.log()).is_ok_and(|log| log.contains(line))
    });
    assert_eq!(count(&mut client, "auth.sessions"), 1);
}

/// Whoever begins to refer to a session while it is purged waits, and finds it gone.
#[test]
fn a_purge_is_not_overtaken() {
    let database = Database::create();
    let mut client = database.connect();
    execute(&mut client, AUDIT);
    let session = over(&mut client, "alice");
    let mut transaction = client.transaction().expect("a transaction");
    let gone: i64 = transaction
        .query_one("SELECT auth.purge_refresh_tokens()", &[])
        .expect("a batch")
        .get(0);
    assert_eq!(gone, 2);
    let mut other = database.connect();
    execute(&mut other, "SET lock_timeout = '100 ms'");
    let insert = format!("INSERT INTO audit (session_id) VALUES ('{session}')");
    assert_eq!(
        refresh_tokens_tests::error_code(other.batch_execute(&insert)),
        "55P03"
    );
    transaction.commit().expect("a commit");
    assert_eq!(
        refresh_tokens_tests::error_code(other.batch_execute(&insert)),
        "23503"
    );
}

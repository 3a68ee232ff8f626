//! Upkeep without anybody's hands: the background worker, pg_cron; and the figures by which
//! somebody sees that it works.

use postgres::Client;
use refresh_tokens_tests::{
    Cluster, Database, assert_invariants, install, issue, pass_time, rotate, wait_until,
};
use std::fs;
use std::sync::Arc;

const PRELOAD: &str = "shared_preload_libraries = 'refresh_tokens'";

/// `count` sessions of a user each, ended longer ago than they are kept.
fn fill(client: &mut Client, count: i32) {
    const SQL: &str = "
        WITH session AS (
            INSERT INTO auth.sessions (user_id, created_at, not_after)
            SELECT 'user ' || n, now() - interval '99 d', now() - interval '98 d' FROM generate_series(1, $1) AS n
            RETURNING id, user_id)
        INSERT INTO auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, session_id)
        SELECT gen_random_uuid(), user_id, true, now() - interval '99 d', now() - interval '98 d', id FROM session";
    client.execute(SQL, &[&count]).expect("rows");
}

fn rows(client: &mut Client) -> i64 {
    let sql =
        "SELECT (SELECT count(*) FROM auth.sessions) + (SELECT count(*) FROM auth.refresh_tokens)";
    client.query_one(sql, &[]).expect("a count").get(0)
}

#[test]
fn the_figures_are_those_of_the_tables() {
    let database = Database::create();
    let mut client = database.connect();
    fill(&mut client, 3);
    for user in ["alice", "bob"] {
        let token = issue(&mut client, user);
        rotate(&mut client, token.token()).expect("a verdict");
    }
    let idle = issue(&mut client, "carol");
    pass_time(&mut client, idle.session(), "16 days");
    let row = client
        .query_one(
            "SELECT live_sessions, live_tokens, purgeable_tokens,
                    oldest_purgeable_seconds - extract(epoch FROM interval '68 d') BETWEEN 0 AND 60,
                    sessions_table_bytes = pg_table_size('auth.sessions'),
                    tokens_index_bytes = pg_indexes_size('auth.refresh_tokens'),
                    sessions_dead_rows >= 0 AND tokens_dead_rows >= 0,
                    coalesce(sessions_hot_update_ratio BETWEEN 0 AND 1, true)
               FROM auth.refresh_token_stats",
            &[],
        )
        .expect("one row");
    let counts: Vec<i64> = (0..3).map(|at| row.get(at)).collect();
    assert_eq!(counts, [2, 2, 3]);
    for at in 3..8 {
        assert!(row.get::<_, bool>(at), "column {at}");
    }
    let answers = client.query("SELECT * FROM auth.refresh_token_answers", &[]);
    assert_eq!(
        answers.expect("rows").len(),
        0,
        "the library is not preloaded"
    );
}

/// How many tokens purge would take, by the figures, and whether any of them waits.
fn purgeable(client: &mut Client) -> (i64, bool) {
    let sql = "SELECT purgeable_tokens, oldest_purgeable_seconds > 0 FROM auth.refresh_token_stats";
    let row = client.query_one(sql, &[]).expect("one row");
    (row.get(0), row.get(1))
}

/// Of every kind that purge takes, and of what it leaves.
#[test]
fn what_is_purgeable_is_what_a_purge_takes() {
    const ROWS: &str = "
        SET session_replication_role = replica;
        -- without a session: a chain of three that is over, one that a login may still come from, nobody's
        INSERT INTO auth.refresh_tokens (token, parent, user_id, revoked, created_at, updated_at)
        VALUES ('a', NULL, 'alice', true, now() - interval '99 d', now() - interval '98 d'),
               ('b', 'a', 'alice', true, now() - interval '98 d', now() - interval '97 d'),
               ('c', 'b', 'alice', false, now() - interval '97 d', now() - interval '97 d'),
               ('d', NULL, 'bob', true, now() - interval '40 d', now() - interval '39 d'),
               ('e', 'd', 'bob', false, now() - interval '39 d', now() - interval '39 d'),
               ('f', NULL, NULL, false, now() - interval '31 d', now() - interval '31 d');
        -- damaged: the session's row is gone, or there is no time
        INSERT INTO auth.refresh_tokens (token, session_id, user_id, revoked, created_at, updated_at)
        VALUES ('g', gen_random_uuid(), 'carol', false, now() - interval '31 d', now() - interval '31 d'),
               ('h', gen_random_uuid(), 'carol', true, now() - interval '31 d', NULL),
               ('i', NULL, 'carol', true, NULL, NULL),
               ('j', NULL, 'carol', false, NULL, NULL);
        RESET session_replication_role";
    let database = Database::create();
    let mut client = database.connect();
    client.batch_execute(ROWS).expect("a superuser may write");
    for (user, rotations, time) in [("over", 2, "46 d"), ("idle", 1, "44 d"), ("live", 0, "1 d")] {
        let mut grant = issue(&mut client, user);
        for _ in 0..rotations {
            grant = rotate(&mut client, grant.token()).expect("a verdict");
        }
        pass_time(&mut client, grant.session(), time);
    }
    // A session that goes on: of its old tokens the live one's parent stays.
    client
        .batch_execute("SET refresh_tokens.session_lifetime = '60 d'")
        .expect("a setting");
    let mut grant = issue(&mut client, "long");
    for _ in 0..4 {
        grant = rotate(&mut client, grant.token()).expect("a verdict");
    }
    client
        .batch_execute("UPDATE auth.refresh_tokens SET updated_at = updated_at - interval '40 d' WHERE user_id = 'long'")
        .expect("a superuser may write");
    let tokens = "SELECT count(*) FROM auth.refresh_tokens";
    let count =
        |client: &mut Client| -> i64 { client.query_one(tokens, &[]).expect("a count").get(0) };
    let before = count(&mut client);
    // a, b, c; f; g, h, i; the three of over; three of long
    assert_eq!(purgeable(&mut client).0, 13);
    client
        .batch_execute("CALL auth.purge_all()")
        .expect("a purge");
    let left = count(&mut client);
    assert_eq!(before - left, 13);
    assert_eq!(purgeable(&mut client), (0, false));
}

#[test]
fn a_family_is_drawn_for_every_encoding_of_a_client() {
    let database = Database::create();
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    rotate(&mut client, token.token()).expect("a verdict");
    for (encoding, branch) in [
        ("UTF8", "└─ "),
        ("LATIN1", "`- "),
        ("WIN1251", "`- "),
        ("SJIS", "`- "),
    ] {
        client
            .batch_execute(&format!("SET client_encoding = '{encoding}'"))
            .expect("an encoding");
        let sql = "SELECT auth.draw_token_family($1)";
        let drawn = client.query(sql, &[&token.session()]);
        let drawn = drawn.unwrap_or_else(|error| panic!("{encoding}: {error:?}"));
        let last: String = drawn[1].get(0);
        assert!(last.starts_with(&format!("{branch}2  live")), "{last}");
    }
}

#[test]
fn answers_are_counted_by_status_until_they_are_reset() {
    const ANSWERS: &str =
        "SELECT status || ' ' || answers FROM auth.refresh_token_answers WHERE answers > 0";
    let cluster = Arc::new(Cluster::start(&[PRELOAD]));
    let database = Database::create_in(&cluster);
    let answers = |client: &mut Client| -> Vec<String> {
        let rows = client.query(ANSWERS, &[]).expect("rows");
        rows.iter().map(|row| row.get(0)).collect()
    };
    let mut client = database.connect();
    let token = issue(&mut client, "alice");
    rotate(&mut client, token.token()).expect("a verdict");
    for _ in 0..3 {
        rotate(&mut client, token.token()).expect("a verdict");
    }
    rotate(&mut client, "nonsense").expect("a verdict");
    let expected = ["issued 1", "rotated 1", "retried 3", "malformed 1"];
    assert_eq!(
        answers(&mut database.connect()),
        expected,
        "seen by every backend"
    );
    let before =
        "SELECT stats_reset < clock_timestamp(), count(*) OVER () FROM auth.refresh_token_answers";
    let row = &client.query(before, &[]).expect("rows")[0];
    assert!(row.get::<_, bool>(0) && row.get::<_, i64>(1) == 11);
    client
        .batch_execute("SELECT auth.reset_refresh_token_stats()")
        .expect("a reset");
    assert_eq!(answers(&mut client), Vec::<String>::new());
}

/// How many processes of the background worker there are.
fn workers(cluster: &Cluster) -> i64 {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'refresh_tokens purge%'";
    let mut client = cluster.connect("postgres", "postgres");
    client.query_one(sql, &[]).expect("a count").get(0)
}

#[test]
fn the_worker_purges_the_named_databases_whatever_is_wrong_with_the_others() {
    let cluster = Arc::new(Cluster::start(&[PRELOAD]));
    let databases = [Database::create_in(&cluster), Database::create_in(&cluster)];
    let empty = cluster.create_database();
    let unnamed = Database::create_in(&cluster);
    for database in databases.iter().chain([&unnamed]) {
        fill(&mut database.connect(), 1500);
        issue(&mut database.connect(), "alice");
    }
    let names = format!(
        "missing, {}, {empty},, {}",
        databases[0].name, databases[1].name
    );
    cluster.configure(&[
        &format!("refresh_tokens.purge_databases = '{names}'"),
        "refresh_tokens.purge_interval = 1",
    ]);
    let mut client = cluster.connect("postgres", "postgres");
    client
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
    for database in &databases {
        wait_until("it is purged", || rows(&mut database.connect()) == 2);
        assert_invariants(&mut database.connect());
    }
    assert_eq!(rows(&mut unnamed.connect()), 3002);
    // And again: it has survived all that.
    fill(&mut databases[1].connect(), 10);
    wait_until("it is purged again", || {
        rows(&mut databases[1].connect()) == 2
    });
    // Nothing tells when the launcher has read the setting, and nothing comes of it: more than an interval passes.
    cluster.configure(&["refresh_tokens.purge_interval = 0"]);
    client
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
    wait_until("0 switches it off", || {
        fill(&mut databases[1].connect(), 10);
        let before = rows(&mut databases[1].connect());
        client
            .batch_execute("SELECT pg_sleep(1.5)")
            .expect("a moment");
        rows(&mut databases[1].connect()) == before
    });
    assert_eq!(workers(&cluster), 1, "the launcher alone");
    // A stop that waits for it would time out.
    cluster.stop("fast");
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert!(log.contains("database \"missing\" does not exist"));
    assert!(!log.contains("PANIC") && !log.contains("panicked"));
}

/// The recipe of docs/operations.md. When the time has come is pg_cron's to know: here it is once it has started.
#[test]
fn pg_cron_purges_by_the_recipe() {
    let cluster = Arc::new(Cluster::start(&["cron.database_name = 'test_0'"]));
    let host = format!("cron.host = '{}'", cluster.socket().display());
    cluster.configure(&["shared_preload_libraries = 'pg_cron'", &host]);
    let database = Database::create_in(&cluster);
    assert_eq!(database.name, "test_0");
    fill(&mut database.connect(), 1500);
    cluster.stop("fast");
    cluster.boot();
    let recipe = "SELECT cron.schedule('purge refresh tokens', '@reboot', 'CALL auth.purge_all()')";
    database
        .connect()
        .batch_execute(&format!("CREATE EXTENSION pg_cron; {recipe}"))
        .expect("pg_cron is installed: run `make test`");
    cluster.stop("fast");
    cluster.boot();
    let mut client = database.connect();
    wait_until("it is purged", || rows(&mut database.connect()) == 0);
    wait_until("it has succeeded", || {
        let sql = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'";
        client
            .query_one(sql, &[])
            .expect("a count")
            .get::<_, i64>(0)
            > 0
    });
}

#[test]
fn without_a_preload_there_is_no_worker() {
    // The server says which workers it knows of, before it takes a connection.
    const REGISTERED: &str = "registering background worker";
    let settings = [
        "log_min_messages = debug1",
        "refresh_tokens.purge_interval = 1",
        "refresh_tokens.purge_databases = 'test_0'",
    ];
    for (preload, registered) in [
        ("session_preload_libraries = 'refresh_tokens'", 0),
        (PRELOAD, 1),
    ] {
        let cluster = Arc::new(Cluster::start(&[&settings[..], &[preload]].concat()));
        let database = Database::create_in(&cluster);
        fill(&mut database.connect(), 1);
        let log = fs::read_to_string(cluster.log()).expect("a log");
        let of_ours = format!("{REGISTERED} \"refresh_tokens purge launcher\"");
        assert_eq!(log.matches(&of_ours).count(), registered, "{preload}");
        assert!(
            log.matches(REGISTERED).count() > registered,
            "PostgreSQL's own"
        );
        if registered == 0 {
            assert_eq!((workers(&cluster), rows(&mut database.connect())), (0, 2));
        }
    }
}

/// Whoever owns the functions and tables gains nothing by the worker: it acts as that role, who need not log in, and what
/// the role has defined can become nobody else.
#[test]
fn the_worker_acts_as_the_owner_of_the_functions() {
    let cluster = Arc::new(Cluster::start(&[PRELOAD]));
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    fill(&mut client, 10);
    client
        .batch_execute(
            "CREATE ROLE owner NOLOGIN;
             SELECT auth.set_refresh_token_owner('owner');
             CREATE TABLE seen (who text, may_become text);
             GRANT INSERT ON seen TO owner;
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 BEGIN
                     RESET SESSION AUTHORIZATION;
                     INSERT INTO public.seen VALUES (current_user, 'anybody');
                 EXCEPTION WHEN OTHERS THEN
                     INSERT INTO public.seen VALUES (current_user, SQLERRM);
                 END;
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER now AFTER DELETE ON auth.sessions
                 FOR EACH ROW EXECUTE FUNCTION see();
             CREATE CONSTRAINT TRIGGER later AFTER DELETE ON auth.sessions DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .expect("a superuser may");
    cluster.configure(&[
        &format!("refresh_tokens.purge_databases = '{}'", database.name),
        "refresh_tokens.purge_interval = 1",
    ]);
    client
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
    wait_until("it is purged", || rows(&mut client) == 0);
    let seen = client
        .query_one(
            "SELECT count(*), bool_and(who = 'owner' AND may_become LIKE 'cannot set parameter%') FROM seen",
            &[],
        )
        .expect("a row");
    assert_eq!((seen.get::<_, i64>(0), seen.get::<_, bool>(1)), (20, true));
}

/// A preloaded cluster whose worker purges the database that is made first, each `interval`.
fn purging(interval: &str, settings: &[&str]) -> Arc<Cluster> {
    let interval = format!("refresh_tokens.purge_interval = '{interval}'");
    let usual = [
        PRELOAD,
        &interval,
        "refresh_tokens.purge_databases = 'test_0'",
    ];
    Arc::new(Cluster::start(&[&usual, settings].concat()))
}

#[test]
fn a_reload_does_not_postpone_a_purge() {
    let cluster = purging("4 s", &[]);
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    fill(&mut client, 10);
    wait_until("it is purged", || {
        client
            .batch_execute("SELECT pg_reload_conf(), pg_sleep(0.5)")
            .expect("a reload");
        rows(&mut client) == 0
    });
}

/// What the worker shows in `pg_stat_activity`, if it is there and waits for a lock.
fn waiting(client: &mut Client) -> Option<(i32, String)> {
    let sql = "SELECT pid, query FROM pg_stat_activity
                WHERE backend_type = 'refresh_tokens purge' AND state = 'active' AND wait_event_type = 'Lock'";
    let row = client.query_opt(sql, &[]).expect("a superuser may look")?;
    Some((row.get(0), row.get(1)))
}

#[test]
fn a_worker_that_waits_for_a_lock_stops_at_once() {
    let cluster = purging("1 s", &["max_prepared_transactions = 1"]);
    let database = Database::create_in(&cluster);
    let mut client = database.connect();
    fill(&mut client, 10);
    // A prepared transaction, so that a stop of the server does not end the wait.
    client
        .batch_execute("BEGIN; LOCK TABLE auth.sessions; PREPARE TRANSACTION 'held'")
        .expect("a lock");
    let mut ended = None;
    wait_until("it waits, and is told to stop", || {
        ended = waiting(&mut client);
        ended.is_some()
    });
    let (pid, shown) = ended.expect("it waits");
    assert_eq!(shown, "refresh_tokens purge: 0 rows so far");
    client
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .expect("a superuser may");
    wait_until("it is gone", || {
        let sql = "SELECT FROM pg_stat_activity WHERE pid = $1";
        client.query(sql, &[&pid]).expect("a look").is_empty()
    });
    wait_until("the next one waits", || waiting(&mut client).is_some());
    // A stop that waits for it would time out.
    cluster.stop("fast");
    cluster.boot();
    let mut client = database.connect();
    client
        .batch_execute("ROLLBACK PREPARED 'held'")
        .expect("it is still there");
    wait_until("it is purged", || rows(&mut client) == 0);
}

#[test]
fn a_worker_says_in_the_log_what_it_did() {
    let cluster = purging("1 s", &[]);
    let database = Database::create_in(&cluster);
    fill(&mut database.connect(), 10);
    let log = || fs::read_to_string(cluster.log()).expect("a log");
    wait_until("it says so", || {
        log().contains("refresh_tokens: purged 20 rows in database \"test_0\"")
    });
    // Nothing of a purge that found nothing: one more is over when the next rows are gone.
    fill(&mut database.connect(), 1);
    wait_until("it is purged again", || rows(&mut database.connect()) == 0);
    cluster.stop("fast");
    assert_eq!(log().matches("refresh_tokens: purged").count(), 2);
}

#[test]
fn a_database_may_have_a_long_name() {
    let cluster = Cluster::start(&[PRELOAD]);
    // PostgreSQL keeps 63 bytes of a name, and half a letter never.
    let (long, kept) = ("ü".repeat(40), "ü".repeat(31));
    let full = format!("{kept}x");
    for (given, name) in [(&long, &kept), (&full, &full)] {
        let create = format!("CREATE DATABASE \"{given}\"");
        let mut client = cluster.connect("postgres", "postgres");
        client.batch_execute(&create).expect("a database");
        let mut client = cluster.connect(name, "postgres");
        install(&mut client);
        fill(&mut client, 10);
    }
    let missing = "ü".repeat(500);
    cluster.configure(&[
        "refresh_tokens.purge_interval = 1",
        &format!("refresh_tokens.purge_databases = '{missing}, x{missing}, {long}, {full}'"),
    ]);
    cluster
        .connect("postgres", "postgres")
        .batch_execute("SELECT pg_reload_conf()")
        .expect("a reload");
    for name in [&kept, &full] {
        let mut client = cluster.connect(name, "postgres");
        wait_until("it is purged", || rows(&mut client) == 0);
    }
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert!(!log.contains("PANIC") && !log.contains("panicked"), "{log}");
}

/// DROP DATABASE gives whoever is connected 5 seconds; a worker with work for minutes lets it go on after a batch.
#[test]
fn a_worker_gives_way_to_a_drop_of_its_database() {
    let cluster = purging("1 s", &[]);
    let database = Database::create_in(&cluster);
    database
        .connect()
        .batch_execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN OLD; END';
             CREATE TRIGGER slow BEFORE DELETE ON auth.sessions FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        .expect("a slow purge");
    // 4 batches of more than 5 seconds each.
    fill(&mut database.connect(), 20_000);
    let mut client = cluster.connect("postgres", "postgres");
    wait_until("it purges", || {
        let sql = "SELECT FROM pg_stat_activity WHERE backend_type = 'refresh_tokens purge' AND datname = 'test_0'
                      AND wait_event = 'PgSleep'";
        !client.query(sql, &[]).expect("a look").is_empty()
    });
    client
        .batch_execute("DROP DATABASE test_0")
        .expect("the worker gives way");
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert!(log.contains("refresh_tokens: purged 10000 rows"), "{log}");
}

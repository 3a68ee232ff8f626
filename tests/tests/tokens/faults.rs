//! Faults in the middle of a load: a killed backend, a server stopped dead, a failover, a full disk, a
//! backend that stands still with a lock in its hand. No answered rotation is lost, none is half-done.
//!
//! `fsync` is off here as in all tests, which is as good: processes die in these tests, the machine
//! doesn't, and what a process has written is the kernel's to keep, flushed or not. What counts is that
//! a commit is written before it is answered, so `synchronous_commit` is on; one test switches it off,
//! and has to see rotations lost.

use postgres::{Client, Error, GenericClient};
use refresh_tokens_tests::format::digest;
use refresh_tokens_tests::random::Random;
use refresh_tokens_tests::{
    Cluster, Database, Grant, Racer, assert_invariants, call, contents, error_code, explain, issue,
    miscounted_sessions, rotate, signal, wait_for_connection, wait_until, waits,
};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use tempfile::TempDir;
use uuid::Uuid;

/// How many connections the load has.
const CONNECTIONS: usize = 8;

/// How often each connection rotates before something happens to it.
const A_WHILE: usize = 25;

/// One session, as its client knows it.
struct Device {
    session: Uuid,
    /// The tokens that it was given, oldest first.
    tokens: Vec<Given>,
    /// Whether it has presented the newest of them and got no answer.
    unanswered: bool,
    /// Whether its rotations are part of a transaction in which its application notes the child.
    notes: bool,
}

struct Given {
    token: String,
    asked: Instant,
    got: Instant,
}

/// What a database knows of a device's tokens.
struct Known {
    /// How many of those that the device was given, from the oldest on.
    given: usize,
    /// The digest of one more, which answers a presentation that was never answered.
    unanswered: Option<String>,
}

impl Device {
    fn new(client: &mut Client, notes: bool) -> Self {
        let asked = Instant::now();
        let issued = issue(client, &Uuid::new_v4().to_string());
        Self {
            session: issued.session(),
            tokens: vec![Given::new(&issued, asked)],
            unanswered: false,
            notes,
        }
    }

    fn newest(&self) -> &str {
        &self.tokens.last().expect("there was a login").token
    }

    /// Presents the newest token, which must be live.
    fn rotate(&mut self, client: &mut Client) -> Result<(), Error> {
        let asked = Instant::now();
        self.unanswered = true;
        let answer = if self.notes {
            let mut transaction = client.transaction()?;
            let answer = rotate(&mut transaction, self.newest())?;
            self.note(&mut transaction, &answer)?;
            transaction.commit()?;
            answer
        } else {
            rotate(client, self.newest())?
        };
        assert_eq!(answer.status, "rotated");
        self.unanswered = false;
        self.tokens.push(Given::new(&answer, asked));
        Ok(())
    }

    fn note(&self, client: &mut impl GenericClient, answer: &Grant) -> Result<(), Error> {
        const SQL: &str = "INSERT INTO public.notes VALUES ($1, $2)";
        let child = digest(answer.token());
        client.execute(SQL, &[&self.session, &child]).map(drop)
    }

    /// What the database knows of the tokens: the beginning of what the device was given, in order, or
    /// all of it and the child that it has asked for. And what the application noted is what happened.
    fn known(&self, client: &mut impl GenericClient) -> Known {
        const ROWS: &str =
            "SELECT token FROM auth.refresh_tokens WHERE session_id = $1 ORDER BY id";
        const NOTES: &str = "SELECT child FROM public.notes WHERE session = $1";
        let mut digests = |sql: &str| -> Vec<String> {
            let rows = client.query(sql, &[&self.session]);
            let rows = rows.expect("a superuser may look");
            rows.iter().map(|row| row.get(0)).collect()
        };
        let mut rows = digests(ROWS);
        let mut notes = digests(NOTES);
        let mut children = if self.notes {
            rows[1..].to_vec()
        } else {
            vec![]
        };
        notes.sort();
        children.sort();
        assert_eq!(notes, children, "a rotation and its note are one");

        let mut given = self.tokens.iter().map(|given| digest(&given.token));
        let same = rows
            .iter()
            .take_while(|&row| Some(row) == given.next().as_ref())
            .count();
        let unanswered = rows.drain(same..).collect::<Vec<_>>();
        let all = same == self.tokens.len();
        assert!(
            unanswered.len() <= usize::from(all && self.unanswered),
            "{} rows beyond the {same} that the client was given (of {}, then {})",
            unanswered.len(),
            self.tokens.len(),
            if self.unanswered {
                "a question"
            } else {
                "no question"
            },
        );
        Known {
            given: same,
            unanswered: unanswered.into_iter().next(),
        }
    }

    /// Goes on with the newest token that the database knows and the device was given, and gives what
    /// the database has known.
    fn go_on(&mut self, client: &mut Client) -> Known {
        let known = self.known(client);
        assert!(known.given > 0, "the login is lost");
        self.tokens.truncate(known.given);
        self.unanswered = false;
        if let Some(child) = &known.unanswered {
            let asked = Instant::now();
            let answer = rotate(client, self.newest()).expect("a verdict");
            assert_eq!(answer.status, "retried");
            assert_eq!(&digest(answer.token()), child);
            self.tokens.push(Given::new(&answer, asked));
        }
        self.rotate(client).expect("a verdict");
        known
    }
}

impl Given {
    fn new(answer: &Grant, asked: Instant) -> Self {
        Self {
            token: answer.token().to_owned(),
            asked,
            got: Instant::now(),
        }
    }
}

/// A database for the load, in which a retry is a retry even after a slow recovery.
fn database(cluster: &Arc<Cluster>) -> Database {
    let database = Database::create_in(cluster);
    let sql = format!(
        "CREATE TABLE public.notes (session uuid, child text PRIMARY KEY);
         ALTER DATABASE {} SET refresh_tokens.reuse_interval = '1 h'",
        database.name
    );
    database.connect().batch_execute(&sql).expect("set up");
    database
}

/// The devices of the load: two for each connection, one of which takes notes.
fn devices(database: &Database) -> Vec<Device> {
    let mut client = database.connect();
    (0..2 * CONNECTIONS)
        .map(|number| Device::new(&mut client, number % 2 == 1))
        .collect()
}

/// How the load goes on, connection by connection.
#[derive(Default)]
struct Progress {
    rotations: [AtomicUsize; CONNECTIONS],
    ended: AtomicUsize,
    stop: AtomicBool,
}

impl Progress {
    /// Waits until each connection has rotated a while more.
    fn wait(&self) {
        let begun = (self.rotations.each_ref()).map(|rotations| rotations.load(Ordering::SeqCst));
        wait_until("each connection has rotated a while", || {
            (self.rotations.iter().zip(begun))
                .all(|(rotations, begun)| rotations.load(Ordering::SeqCst) >= begun + A_WHILE)
        });
    }

    /// Waits until the server has cut each connection.
    fn wait_for_the_end(&self) {
        wait_until("the connections are cut", || {
            self.ended.load(Ordering::SeqCst) == CONNECTIONS
        });
    }

    /// Rotates the tokens of `devices` in turn until it is told to stop, or the connection is cut.
    fn load(&self, number: usize, client: &mut Client, devices: &mut [Device]) {
        'load: while !self.stop.load(Ordering::SeqCst) {
            for device in &mut *devices {
                if let Err(error) = device.rotate(client) {
                    // the ways of a server to say that it goes: 57P01 admin_shutdown, 57P02 crash_shutdown
                    let code = error.code().map(|code| code.code());
                    assert!(matches!(code, None | Some("57P01" | "57P02")), "{error:?}");
                    break 'load;
                }
                self.rotations[number].fetch_add(1, Ordering::SeqCst);
            }
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Stops the load even where a test fails, so that it ends.
struct Stop<'a>(&'a Progress);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Lets `fault` happen while the devices rotate their tokens.
fn under_load(
    database: &Database,
    devices: &mut [Device],
    fault: impl FnOnce(&Progress, &mut Client),
) {
    let progress = Progress::default();
    let mut observer = database.connect();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| database.connect()).collect();
    let shares = devices.chunks_mut(2);
    thread::scope(|scope| {
        let _stop = Stop(&progress);
        for (number, (client, devices)) in clients.iter_mut().zip(shares).enumerate() {
            let progress = &progress;
            scope.spawn(move || progress.load(number, client, devices));
        }
        progress.wait();
        fault(&progress, &mut observer);
    });
}

/// A backend that is in the middle of a transaction that has written something.
fn writing_backend(observer: &mut Client) -> i32 {
    const SQL: &str = "
        SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
         LIMIT 1";
    let mut pid = None;
    wait_until("a backend writes", || {
        let row = observer.query_opt(SQL, &[]).expect("a superuser may look");
        pid = row.map(|row| row.get(0));
        pid.is_some()
    });
    pid.expect("waited for")
}

/// Kills one backend with its boots on. The server then throws out all others and recovers.
fn kill_a_backend(progress: &Progress, observer: &mut Client) {
    signal(writing_backend(observer), "KILL");
    progress.wait_for_the_end();
}

/// Lets the devices go on after the server came back, none of which may have lost anything.
fn assert_nothing_lost(database: &Database, devices: &mut [Device]) {
    let config = database.cluster().config(&database.name, "postgres");
    let mut client = wait_for_connection(&config);
    assert_invariants(&mut client);
    for device in devices {
        let given = device.tokens.len();
        assert_eq!(device.go_on(&mut client).given, given, "answered, and lost");
    }
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
}

/// Has the server read its settings again.
fn reload(client: &mut Client) {
    let reload = client.query_one("SELECT pg_reload_conf()", &[]);
    assert!(reload.expect("a superuser may").get::<_, bool>(0));
}

fn unanswered(devices: &[Device]) -> usize {
    devices.iter().filter(|device| device.unanswered).count()
}

fn postmaster(cluster: &Cluster) -> String {
    let pid = fs::read_to_string(cluster.data().join("postmaster.pid"));
    let pid = pid.expect("the server runs");
    pid.lines().next().expect("its id").to_owned()
}

/// Every row of both tables, in the version that it is in: [`contents`] but for the sequence, which
/// gives no id twice, not even one that was not used.
fn rows(client: &mut impl GenericClient) -> Vec<String> {
    let mut rows = contents(client);
    rows.retain(|row| !row.starts_with("sequence"));
    rows
}

#[test]
fn a_killed_backend_loses_no_answered_rotation_and_leaves_none_half_done() {
    let cluster = Arc::new(Cluster::start(&[]));
    let database = database(&cluster);
    let mut devices = devices(&database);
    let server = postmaster(&cluster);
    for _ in 0..4 {
        under_load(&database, &mut devices, kill_a_backend);
        // each connection was cut, in the middle of a rotation
        assert_eq!(unanswered(&devices), CONNECTIONS);
        assert_nothing_lost(&database, &mut devices);
    }
    assert_eq!(postmaster(&cluster), server);
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert_eq!(log.matches("was terminated by signal 9").count(), 4);
}

#[test]
fn an_immediate_stop_loses_no_answered_rotation_and_leaves_none_half_done() {
    let cluster = Arc::new(Cluster::start(&[]));
    let database = database(&cluster);
    let mut devices = devices(&database);
    for _ in 0..4 {
        under_load(&database, &mut devices, |progress, _| {
            cluster.stop("immediate");
            progress.wait_for_the_end();
        });
        assert_eq!(unanswered(&devices), CONNECTIONS);
        cluster.boot();
        assert_nothing_lost(&database, &mut devices);
    }
    let log = fs::read_to_string(cluster.log()).expect("a log");
    assert_eq!(log.matches("automatic recovery in progress").count(), 4);
}

#[test]
fn a_rotation_committed_but_never_answered_is_retried_after_the_crash() {
    let cluster = Arc::new(Cluster::start(&[]));
    let database = database(&cluster);
    let mut devices = devices(&database);
    // What waits for a standby that doesn't exist has committed, and isn't answered.
    let nobody = "synchronous_standby_names = 'nobody'";
    let everybody_waits = "SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    type Crash = fn(&Cluster, &mut Client);
    let crashes: [Crash; 2] = [
        |cluster, _| cluster.stop("immediate"),
        |_, observer| {
            let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1";
            let row = observer.query_one(waiting, &[]);
            signal(row.expect("eight backends wait").get(0), "KILL");
        },
    ];
    for crash in crashes {
        under_load(&database, &mut devices, |progress, observer| {
            cluster.configure(&[nobody]);
            reload(observer);
            wait_until("each connection waits for a standby", || {
                let row = observer.query_one(everybody_waits, &[&(CONNECTIONS as i64)]);
                row.expect("a superuser may look").get(0)
            });
            cluster.configure(&["synchronous_standby_names = ''"]);
            crash(&cluster, observer);
            progress.wait_for_the_end();
        });
        assert_eq!(unanswered(&devices), CONNECTIONS);
        if !cluster.data().join("postmaster.pid").exists() {
            cluster.boot();
        }
        let config = cluster.config(&database.name, "postgres");
        let mut client = wait_for_connection(&config);
        reload(&mut client);
        let retried = (devices.iter())
            .filter(|device| device.known(&mut client).unanswered.is_some())
            .count();
        assert_eq!(retried, CONNECTIONS);
        assert_nothing_lost(&database, &mut devices);
    }
}

#[test]
fn a_rotation_not_committed_at_the_crash_never_was() {
    let cluster = Arc::new(Cluster::start(&[]));
    let database = database(&cluster);
    let mut client = database.connect();
    let mut devices = devices(&database);
    let grants: Vec<_> = (0..4).map(|_| issue(&mut client, "alice")).collect();
    for device in &mut devices {
        device.rotate(&mut client).expect("a verdict");
    }
    let stolen = devices[0].tokens[0].token.clone();
    let before = rows(&mut client);

    let mut racers: Vec<_> = (0..7).map(|_| Racer::new(&database)).collect();
    for racer in &mut racers {
        racer.client.batch_execute("BEGIN").expect("a transaction");
    }
    let calls = [
        format!(
            "(auth.rotate_refresh_token('{}')).status",
            devices[1].newest()
        ),
        format!("auth.revoke_session('{}')", grants[0].session()),
        format!("auth.revoke_refresh_token('{}')", grants[1].token()),
        format!(
            "(auth.issue_refresh_token('alice', '{}')).status",
            grants[2].session()
        ),
        "(auth.issue_refresh_token('bob')).status".to_owned(),
        format!(
            "(auth.rotate_refresh_token('{}')).status",
            devices[3].newest()
        ),
    ];
    let gives = ["rotated", "1", "1", "issued", "issued", "rotated"];
    for ((call, gives), racer) in calls.iter().zip(gives).zip(&mut racers) {
        let row = racer
            .client
            .query_one(&format!("SELECT ({call})::text"), &[]);
        assert_eq!(row.expect("a verdict").get::<_, String>(0), gives, "{call}");
    }
    // reuse, detected and not committed: the thief was told, and the family lives on
    let thief = &mut racers[6].client;
    thief
        .batch_execute("SET LOCAL refresh_tokens.reuse_interval = 0")
        .expect("a setting");
    let answer = rotate(thief, &stolen).expect("a verdict");
    assert_eq!(answer.status, "reuse_detected");

    // What is not committed is on disk too, and the recovery begins with it.
    client.batch_execute("CHECKPOINT").expect("a superuser may");
    signal(racers[0].pid, "KILL");
    let config = cluster.config(&database.name, "postgres");
    wait_until("the other backends are thrown out", || {
        racers
            .iter_mut()
            .all(|racer| racer.client.execute("SELECT", &[]).is_err())
    });
    let mut client = wait_for_connection(&config);
    assert_eq!(rows(&mut client), before);
    assert_nothing_lost(&database, &mut devices);
    for grant in &grants {
        let answer = rotate(&mut client, grant.token()).expect("a verdict");
        assert_eq!(answer.status, "rotated");
    }
}

#[test]
fn a_prepared_rotation_keeps_its_session_locked_through_a_crash_until_it_is_committed() {
    let cluster = Arc::new(Cluster::start(&["max_prepared_transactions = 2"]));
    let database = database(&cluster);
    let mut client = database.connect();
    let (kept, undone) = (issue(&mut client, "alice"), issue(&mut client, "bob"));
    let mut children = Vec::new();
    for (name, grant) in [("kept", &kept), ("undone", &undone)] {
        client.batch_execute("BEGIN").expect("a transaction");
        children.push(rotate(&mut client, grant.token()).expect("a verdict"));
        let prepare = format!("PREPARE TRANSACTION '{name}'");
        client.batch_execute(&prepare).expect("prepared");
    }
    cluster.stop("immediate");
    cluster.boot();

    let mut client = database.connect();
    let before = rows(&mut client);
    client
        .batch_execute("SET lock_timeout = '100ms'")
        .expect("a setting");
    for grant in [&kept, &undone] {
        assert_eq!(error_code(rotate(&mut client, grant.token())), "55P03");
        assert_eq!(explain(&mut client, grant.token()).status, "rotated");
    }
    for child in &children {
        let answer = rotate(&mut client, child.token()).expect("a verdict");
        assert_eq!(answer.status, "not_found");
    }
    assert_eq!(rows(&mut client), before);
    for end in ["COMMIT PREPARED 'kept'", "ROLLBACK PREPARED 'undone'"] {
        client.batch_execute(end).expect("it is there");
    }
    let answer = rotate(&mut client, kept.token()).expect("a verdict");
    assert_eq!(answer.status, "retried");
    assert_eq!(answer.token, children[0].token);
    let answer = rotate(&mut client, children[1].token()).expect("a verdict");
    assert_eq!(answer.status, "not_found");
    let answer = rotate(&mut client, undone.token()).expect("a verdict");
    assert_eq!(answer.status, "rotated");
    assert_invariants(&mut client);
}

/// The check of the other tests finds what they must not find: a server that answers before it writes
/// loses answered rotations, the newest ones. Nobody writes them: the one whose work that is stands still, and then dies.
#[test]
fn without_synchronous_commit_the_check_finds_answered_rotations_lost() {
    let cluster = Arc::new(Cluster::start(&[
        "synchronous_commit = off",
        "wal_writer_delay = 10s",
        "wal_writer_flush_after = 1GB",
        "wal_buffers = 64MB",
        "bgwriter_lru_maxpages = 0",
        "autovacuum = off",
    ]));
    let database = database(&cluster);
    let mut devices = devices(&database);
    // that there is a database is not to be lost
    let mut client = database.connect();
    client.batch_execute("CHECKPOINT").expect("a checkpoint");
    let writer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let row = client.query_one(writer, &[]);
    let writer = Stopped::new(row.expect("it runs").get(0));
    under_load(&database, &mut devices, |progress, _| {
        signal(writer.0, "KILL");
        progress.wait_for_the_end();
    });
    std::mem::forget(writer);
    let config = cluster.config(&database.name, "postgres");
    let mut client = wait_for_connection(&config);
    assert_invariants(&mut client);
    for device in &mut devices {
        let given = device.tokens.len();
        let known = device.go_on(&mut client).given;
        assert!(known < given, "all {given} were written");
    }
}

/// A primary with a load, and its standby.
struct Pair {
    primary: Arc<Cluster>,
    standby: Cluster,
    database: Database,
    devices: Vec<Device>,
}

impl Pair {
    fn new() -> Self {
        let primary = Arc::new(Cluster::start(&[]));
        let database = database(&primary);
        let devices = devices(&database);
        let standby = primary.standby();
        Self {
            primary,
            standby,
            database,
            devices,
        }
    }

    fn observe(&self) -> Client {
        self.standby.connect(&self.database.name, "postgres")
    }

    /// That the promoted standby knows the beginning of history and goes on from there. Gives how many
    /// of the tokens that they were given the devices have lost.
    fn assert_prefix(&mut self) -> Vec<usize> {
        let mut client = self.observe();
        assert_invariants(&mut client);
        let known: Vec<_> = (self.devices.iter())
            .map(|device| device.known(&mut client).given)
            .collect();
        // What was answered before something else was asked for came before it, whichever the session.
        let both = || self.devices.iter().zip(&known);
        let asked = both().flat_map(|(device, &known)| &device.tokens[..known]);
        let lost = both().flat_map(|(device, &known)| &device.tokens[known..]);
        if let Some(lost) = lost.map(|given| given.got).min() {
            let asked = asked.map(|given| given.asked).max();
            assert!(asked < Some(lost), "history has a hole");
        }
        let given = self.devices.iter().map(|device| device.tokens.len());
        let lost = given.zip(&known).map(|(given, known)| given - known);
        let lost = lost.collect();
        for device in &mut self.devices {
            let forgotten: Vec<_> = device
                .tokens
                .iter()
                .map(|given| given.token.clone())
                .collect();
            let known = device.go_on(&mut client);
            for token in &forgotten[known.given..] {
                // Where the derivation key is the same still, the child is the same again.
                let reborn = device.tokens.iter().any(|given| given.token == *token);
                let answer = explain(&mut client, token).status;
                let expected = if reborn { "rotated" } else { "not_found" };
                assert_eq!(answer, expected);
            }
        }
        assert_invariants(&mut client);
        assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
        lost
    }
}

#[test]
fn a_standby_promoted_in_the_middle_answers_a_prefix_of_history() {
    let mut pair = Pair::new();
    let mut observer = pair.observe();
    under_load(&pair.database, &mut pair.devices, |progress, _| {
        // each moment of a standby is one of the primary's
        (0..20).for_each(|_| assert_invariants(&mut observer));
        pair.standby.promote();
        progress.wait();
    });
    assert!(pair.assert_prefix().iter().all(|&lost| lost > 0));
}

#[test]
fn a_standby_that_was_cut_off_before_it_was_promoted_answers_a_prefix_of_history() {
    let mut pair = Pair::new();
    let mut client = pair.observe();
    under_load(&pair.database, &mut pair.devices, |progress, observer| {
        pair.standby.configure(&["primary_conninfo = ''"]);
        reload(&mut client);
        wait_until("nobody follows the primary", || {
            let row = observer.query_one("SELECT count(*) = 0 FROM pg_stat_replication", &[]);
            row.expect("a superuser may look").get(0)
        });
        progress.wait();
    });
    drop(client);
    pair.primary.stop("immediate");
    pair.standby.promote();
    let least = A_WHILE / 2;
    assert!(pair.assert_prefix().iter().all(|&lost| lost >= least));
}

#[test]
fn a_synchronous_standby_loses_no_answered_rotation_when_the_primary_dies() {
    let mut pair = Pair::new();
    pair.primary.configure(&["synchronous_standby_names = '*'"]);
    let mut client = pair.database.connect();
    reload(&mut client);
    wait_until("the standby is a synchronous one", || {
        let sql = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        client
            .query_one(sql, &[])
            .expect("a superuser may look")
            .get(0)
    });
    drop(client);
    under_load(&pair.database, &mut pair.devices, |progress, _| {
        pair.primary.stop("immediate");
        progress.wait_for_the_end();
    });
    assert_eq!(unanswered(&pair.devices), CONNECTIONS);
    pair.standby.promote();
    assert_eq!(pair.assert_prefix(), [0; 2 * CONNECTIONS]);
}

/// A process of a server that was stopped. It goes on at the latest when this is dropped.
struct Stopped(i32);

impl Stopped {
    fn new(pid: i32) -> Self {
        signal(pid, "STOP");
        wait_until("the backend stands still", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
            let stat = stat.expect("the backend is there");
            let state = stat.rsplit(')').next().map(str::trim_start);
            state.is_some_and(|state| state.starts_with('T'))
        });
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

#[test]
fn a_backend_that_stands_still_with_the_lock_keeps_others_waiting_till_lock_timeout() {
    let database = Database::create();
    let mut client = database.connect();
    let (alice, bob) = (issue(&mut client, "alice"), issue(&mut client, "bob"));
    let (session, token) = (alice.session(), alice.token());
    let mut holder = Racer::new(&database);
    let mut gate_client = database.connect();
    thread::scope(|scope| {
        // It has the session's lock when it comes to wait for the token's row.
        let mut gate = gate_client.transaction().expect("a transaction");
        let sql = "SELECT FROM auth.refresh_tokens WHERE token = $1 FOR NO KEY UPDATE";
        gate.execute(sql, &[&digest(token)])
            .expect("the row is free");
        let pid = holder.pid;
        let rotation = scope.spawn(move || rotate(&mut holder.client, token));
        wait_until("it waits for the row", || waits(&mut gate, pid));
        let stopped = Stopped::new(pid);
        gate.commit().expect("the row is free");

        let before = contents(&mut client);
        client
            .batch_execute("SET lock_timeout = '100ms'")
            .expect("a setting");
        for function in [
            format!("rotate_refresh_token('{token}')"),
            format!("issue_refresh_token('alice', '{session}')"),
            format!("revoke_refresh_token('{token}')"),
            format!("revoke_token_family('{}')", digest(token)),
            format!("revoke_session('{session}')"),
            "revoke_user_sessions('alice')".to_owned(),
        ] {
            let result = client.query(&format!("SELECT * FROM auth.{function}"), &[]);
            assert_eq!(error_code(result), "55P03", "{function}");
            assert_eq!(contents(&mut client), before, "{function}");
        }
        // who doesn't change the session needn't wait for it
        assert_eq!(explain(&mut client, token).status, "rotated");
        let live = client.query_one("SELECT auth.is_session_live($1)", &[&session]);
        assert!(live.expect("an answer").get::<_, bool>(0));
        let answer = rotate(&mut client, bob.token()).expect("a verdict");
        assert_eq!(answer.status, "rotated");
        let second = call(&mut client, "issue_refresh_token('alice')", &[]);
        assert_eq!(second.expect("a login").status, "issued");

        drop(stopped);
        let rotated = rotation.join().expect("no panic").expect("a verdict");
        assert_eq!(rotated.status, "rotated");
        let retried = rotate(&mut client, token).expect("a verdict");
        assert_eq!(retried.status, "retried");
        assert_eq!(retried.token, rotated.token);
        let row = client.query_one("SELECT auth.revoke_user_sessions('alice')", &[]);
        assert_eq!(row.expect("a count").get::<_, i64>(0), 2);
    });
    assert_invariants(&mut client);
}

/// A file system of its own with little space. It is gone when this is dropped, which must be after the
/// server that has files in it was stopped.
struct SmallDisk {
    folder: TempDir,
    owner: Option<(u32, u32)>,
}

impl SmallDisk {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
            owner: None,
        }
    }

    /// Mounts it for the server's user. Only root may, and not in every container.
    fn mount(&mut self, cluster: &Cluster) -> Result<(), String> {
        let owner = fs::metadata(cluster.data()).expect("a data folder");
        let path = self.folder.path();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(path)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        self.owner = Some((owner.uid(), owner.gid()));
        chown(path, Some(owner.uid()), Some(owner.gid())).expect("root may give it away");
        Ok(())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }

    /// Leaves no space.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("a writable folder");
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    /// Gives the space back.
    fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.owner.is_some() {
            let _ = Command::new("umount").arg(self.folder.path()).status();
        }
    }
}

/// Does `act` again and again until the disk is full for it, and gives how often it was done. The last
/// time, nothing was changed; not even where the caller, who `goes_on`, commits what came before.
fn until_full(
    client: &mut Client,
    goes_on: bool,
    mut act: impl FnMut(&mut Client) -> Result<(), Error>,
) -> usize {
    for done in 0..10_000 {
        let before = rows(client);
        if goes_on {
            let begin = "BEGIN; SAVEPOINT before";
            client.batch_execute(begin).expect("a transaction");
        }
        let result = act(client);
        if goes_on {
            let end = match result {
                Ok(()) => "COMMIT",
                Err(_) => "ROLLBACK TO before; COMMIT",
            };
            client.batch_execute(end).expect("a commit");
        }
        if result.is_err() {
            assert_eq!(error_code(result), "53100");
            assert_eq!(rows(client), before);
            return done;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_disk_leaves_the_token_live_until_there_is_space_again() {
    let mut disk = SmallDisk::new();
    let cluster = Arc::new(Cluster::start(&["autovacuum = off"]));
    if let Err(error) = disk.mount(&cluster) {
        // past the test runner, which shows nothing of a test that passes
        let why = error.lines().next().unwrap_or_default();
        let line = format!("skipped: no small file system can be mounted here ({why})\n");
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("stderr");
        return;
    }
    let database = database(&cluster);
    let mut client = database.connect();
    let path = disk.path().to_str().expect("UTF-8");
    client
        .batch_execute(&format!("CREATE TABLESPACE small LOCATION '{path}'"))
        .expect("an empty folder");
    client
        .batch_execute(
            "ALTER TABLE auth.refresh_tokens SET TABLESPACE small;
             DO $$ DECLARE i regclass; BEGIN
               FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid = 'auth.refresh_tokens'::regclass LOOP
                 EXECUTE format('ALTER INDEX %s SET TABLESPACE small', i);
               END LOOP; END $$",
        )
        .expect("there is space");
    let mut devices: Vec<_> = (0..20).map(|_| Device::new(&mut client, false)).collect();
    let alice = issue(&mut client, "alice").session();
    disk.fill();

    let mut next = (0..20).cycle();
    for goes_on in [false, true] {
        let mut presented = 0;
        let rotations = until_full(&mut client, goes_on, |client| {
            presented = next.next().expect("endless");
            devices[presented].rotate(client)
        });
        assert!(goes_on || rotations > 0, "there was no space to begin with");
        let device = &devices[presented];
        let known = device.known(&mut client);
        assert_eq!(known.given, device.tokens.len());
        assert_eq!(known.unanswered, None);
        assert_eq!(explain(&mut client, device.newest()).status, "rotated");
        for function in [
            "issue_refresh_token('bob', user_agent => 'changed', ip => '::1')".to_owned(),
            format!("issue_refresh_token('alice', '{alice}', scopes => 'changed')"),
        ] {
            until_full(&mut client, goes_on, |client| {
                call(client, &function, &[]).map(drop)
            });
        }
    }

    disk.free();
    for device in &mut devices {
        let given = device.tokens.len();
        assert_eq!(device.go_on(&mut client).given, given);
    }
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
}

/// `/dev/full` is a disk that is always full, for every user: it stands in for the file that a long user
/// agent of `auth.sessions` goes to. At that point of the rotation the parent is revoked and the child is
/// inserted already.
#[test]
fn a_disk_that_is_full_for_the_session_row_undoes_the_whole_rotation() {
    let cluster = Arc::new(Cluster::start(&[]));
    let database = database(&cluster);
    let mut client = database.connect();
    let path = "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = 'auth.sessions'::regclass";
    let row = client.query_one(path, &[]).expect("a superuser may look");
    let file = cluster.data().join(row.get::<_, String>(0));
    let saved = file.with_extension("saved");
    assert_eq!(fs::metadata(&file).expect("the file").len(), 0);

    // 1024 characters that can't be compressed: they don't fit into the row.
    let characters = Random::new(0, 0).bytes::<1024>();
    let agent: String = (characters.into_iter())
        .map(|byte| char::from_u32(0x4e00 + 77 * u32::from(byte)).expect("a letter"))
        .collect();
    let mut device = Device::new(&mut client, false);
    device.rotate(&mut client).expect("a verdict");
    let before = rows(&mut client);

    fs::rename(&file, &saved).expect("a writable folder");
    symlink("/dev/full", &file).expect("a writable folder");
    let mut full = database.connect();
    let function = "rotate_refresh_token($1, user_agent => $2)";
    for _ in 0..3 {
        let result = call(&mut full, function, &[&device.newest(), &agent]);
        assert_eq!(error_code(result), "53100");
        assert_eq!(rows(&mut client), before);
    }
    // half of it isn't kept either where the caller goes on
    let mut transaction = full.transaction().expect("a transaction");
    let mut savepoint = transaction.savepoint("whole").expect("a savepoint");
    let result = call(&mut savepoint, function, &[&device.newest(), &agent]);
    assert_eq!(error_code(result), "53100");
    savepoint.rollback().expect("the savepoint is there");
    transaction.commit().expect("a commit");
    assert_eq!(rows(&mut client), before);
    // a short user agent stays in the row
    device.rotate(&mut full).expect("a verdict");
    drop(full);

    fs::rename(&saved, &file).expect("a writable folder");
    let mut client = database.connect();
    let rotated = call(&mut client, function, &[&device.newest(), &agent]).expect("a verdict");
    assert_eq!(rotated.status, "rotated");
    let kept = client.query_one(
        "SELECT user_agent = $2, pg_column_size(user_agent) > 2048 FROM auth.sessions WHERE id = $1",
        &[&device.session, &agent],
    );
    let kept = kept.expect("the session");
    assert_eq!((kept.get(0), kept.get(1)), (true, true));
    assert_invariants(&mut client);
    assert_eq!(miscounted_sessions(&mut client), Vec::<String>::new());
}

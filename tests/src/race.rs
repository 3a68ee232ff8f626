//! Races: many connections that do something at the same moment, or in a known order.

use crate::{Cluster, Database};
use postgres::error::SqlState;
use postgres::{Client, Config, Error, GenericClient, IsolationLevel, NoTls, Transaction};
use std::process::Command;
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a state is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many connections the races of one process may hold together, whatever the number of processors.
const MAX_RACERS: usize = 60;

static RACERS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Connections that race, with the ids of their backends.
pub struct Racers {
    racers: Vec<Racer>,
}

/// One connection of a race.
pub struct Racer {
    /// The connection.
    pub client: Client,
    /// Its backend's process id.
    pub pid: i32,
}

impl Racer {
    /// A new connection to `database` as the superuser.
    pub fn new(database: &Database) -> Self {
        let mut client = database.connect();
        let pid = backend_pid(&mut client);
        Self { client, pid }
    }
}

impl Racers {
    /// `number` connections to `database`, once the races of other tests leave room for them.
    pub fn new(database: &Database, number: usize) -> Self {
        let (taken, freed) = &RACERS;
        let mut taken = taken.lock().expect("no panic while it is held");
        while *taken + number > MAX_RACERS {
            taken = freed.wait(taken).expect("no panic while it is held");
        }
        *taken += number;
        drop(taken);
        Self {
            racers: (0..number).map(|_| Racer::new(database)).collect(),
        }
    }

    /// Lets each connection do `act(its number, itself)`, all at the same moment, and gives what they
    /// got, by number.
    pub fn at_once<T: Send>(&mut self, act: impl Fn(usize, &mut Client) -> T + Sync) -> Vec<T> {
        let barrier = Barrier::new(self.racers.len());
        thread::scope(|scope| {
            let (act, barrier) = (&act, &barrier);
            let threads: Vec<_> = (self.racers.iter_mut().enumerate())
                .map(|(number, racer)| {
                    scope.spawn(move || {
                        barrier.wait();
                        act(number, &mut racer.client)
                    })
                })
                .collect();
            (threads.into_iter())
                .map(|thread| thread.join().expect("the racer comes home"))
                .collect()
        })
    }

    /// As [`Racers::at_once`], but `gate` holds what `lock` locks until every connection waits for a lock,
    /// and they begin to wait in the order of their numbers.
    pub fn behind<T: Send>(
        &mut self,
        gate: &mut Client,
        lock: &str,
        act: impl Fn(usize, &mut Client) -> T + Sync,
    ) -> Vec<T> {
        self.behind_some(gate, lock, |_| true, act)
    }

    /// As [`Racers::behind`], where only those connections come to wait whose number `comes_to_wait` names.
    pub fn behind_some<T: Send>(
        &mut self,
        gate: &mut Client,
        lock: &str,
        comes_to_wait: impl Fn(usize) -> bool,
        act: impl Fn(usize, &mut Client) -> T + Sync,
    ) -> Vec<T> {
        let act = &act;
        thread::scope(|scope| {
            // In here, so that a panic opens the gate before the racers are waited for.
            let mut gate = gate.transaction().expect("a transaction");
            let held = gate.batch_execute(lock);
            held.expect("the gate's lock is free");
            let mut threads = Vec::with_capacity(self.racers.len());
            for (number, racer) in self.racers.iter_mut().enumerate() {
                let pid = racer.pid;
                threads.push(scope.spawn(move || act(number, &mut racer.client)));
                if comes_to_wait(number) {
                    wait_until("the racer waits for a lock", || waits(&mut gate, pid));
                }
            }
            gate.commit().expect("the gate opens");
            (threads.into_iter())
                .map(|thread| thread.join().expect("the racer comes home"))
                .collect()
        })
    }
}

impl Drop for Racers {
    fn drop(&mut self) {
        let number = self.racers.len();
        self.racers.clear();
        let (taken, freed) = &RACERS;
        if let Ok(mut taken) = taken.lock() {
            *taken -= number;
            freed.notify_all();
        }
    }
}

/// The process id of the backend of `client`.
pub fn backend_pid(client: &mut Client) -> i32 {
    let row = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]);
    row.expect("a backend has an id").get(0)
}

/// Whether the backend `pid` waits for a lock at the moment.
pub fn waits(client: &mut impl GenericClient, pid: i32) -> bool {
    const SQL: &str =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE pid = $1 AND NOT granted)";
    let row = client.query_one(SQL, &[&pid]);
    row.expect("everybody may look at locks").get(0)
}

/// Waits until `state` holds.
///
/// # Panics
/// It doesn't come to hold.
pub fn wait_until(what: &str, mut state: impl FnMut() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < PATIENCE, "not so after a minute: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Sends the signal `name` to the process `pid` of a server that the test has started.
///
/// # Panics
/// There is no such process.
pub fn signal(pid: i32, name: &str) {
    // The shell's own kill: a bare system has no other.
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .status();
    assert!(status.expect("a shell").success(), "kill -s {name} {pid}");
}

/// A connection to a server that is about to take one: it recovers from a crash, say.
///
/// # Panics
/// It doesn't come to take one.
pub fn wait_for_connection(config: &Config) -> Client {
    let mut client = None;
    wait_until("the server takes connections", || {
        client = config.connect(NoTls).ok();
        client.is_some()
    });
    client.expect("waited for")
}

/// Waits until `standby` has replayed what `primary` has written by now.
pub fn wait_for_replay(primary: &Cluster, standby: &Cluster) {
    let mut client = primary.connect("postgres", "postgres");
    let row = client.query_one("SELECT pg_catalog.pg_current_wal_lsn()::text", &[]);
    let written: String = row.expect("a position").get(0);
    let mut client = standby.connect("postgres", "postgres");
    wait_until("the standby has caught up", || {
        const SQL: &str = "SELECT pg_catalog.pg_last_wal_replay_lsn() >= $1::text::pg_lsn";
        let row = client.query_one(SQL, &[&written]);
        row.expect("a position").get(0)
    });
}

/// Runs `act` in a transaction of its own.
///
/// # Errors
/// As `act` and the commit have them.
pub fn in_transaction<T>(
    client: &mut Client,
    isolation: IsolationLevel,
    act: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(isolation)
        .start()?;
    let result = act(&mut transaction)?;
    transaction.commit()?;
    Ok(result)
}

/// As [`in_transaction`], again and again while it fails to serialize: what an application does.
///
/// # Panics
/// It fails in another way.
pub fn until_serialized<T>(
    client: &mut Client,
    isolation: IsolationLevel,
    mut act: impl FnMut(&mut Transaction<'_>) -> Result<T, Error>,
) -> T {
    loop {
        match in_transaction(client, isolation, &mut act) {
            Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => {}
            result => break result.expect("no error but 40001"),
        }
    }
}

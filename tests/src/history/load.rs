//! The load: connections that do random things to few families, so that they meet.

mod choice;

use super::call::{Action, Answer, Call, Clock, History, Moment, Outcome, Settings};
use super::connection::Connection;
use crate::random::Random;
use crate::{Database, wait_until};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// A load on one database.
pub struct Load<'a> {
    /// The database, with the extension in it.
    pub database: &'a Database,
    /// The function that rotates.
    pub rotate: &'a str,
    /// What is done.
    pub mix: Mix,
    /// How many connections do it.
    pub connections: usize,
    /// To how many families at a time.
    pub families: usize,
    /// For how long.
    pub duration: Duration,
    /// And how many transactions at least, however slow the machine is.
    pub transactions: u64,
    /// What the choices follow from.
    pub seed: u64,
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Everything.
    All,
    /// Logins, rotations, many revocations under READ COMMITTED and the usual settings: what an
    /// imitation of the rotation must stand.
    Plain,
}

/// What the connections of a load share.
struct Shared<'a> {
    load: &'a Load<'a>,
    clock: Clock,
    deadline: Instant,
    transactions: AtomicU64,
    /// The families in use: a place each, empty at first.
    families: Vec<Mutex<Option<Family>>>,
    /// Tokens of answers that were rolled back.
    ghosts: Mutex<Vec<String>>,
    /// The backend of each connection.
    backends: Vec<AtomicI32>,
}

/// What clients know of a family.
#[derive(Clone)]
struct Family {
    user: String,
    session: Uuid,
    client: Option<String>,
    /// In the order in which they were learned: the last one is live, if nobody does anything.
    tokens: Vec<String>,
    /// Whether a refusal was seen, so that the place is soon to be given to another.
    refused: bool,
}

impl Load<'_> {
    /// Runs it and gives what happened.
    pub fn run(&self) -> History {
        let shared = Shared {
            load: self,
            clock: Clock::new(),
            deadline: Instant::now() + self.duration,
            transactions: AtomicU64::new(0),
            families: (0..self.families).map(|_| Mutex::new(None)).collect(),
            ghosts: Mutex::default(),
            backends: (0..self.connections).map(|_| AtomicI32::new(0)).collect(),
        };
        let mut calls: Vec<_> = thread::scope(|scope| {
            let shared = &shared;
            let workers: Vec<_> = (0..self.connections)
                .map(|number| scope.spawn(move || Worker::new(shared, number).run()))
                .collect();
            let calls = workers.into_iter().map(|worker| worker.join());
            calls
                .flat_map(|calls| calls.expect("the worker comes home"))
                .collect()
        });
        calls.sort_by_key(|call| call.begin);
        History {
            seed: self.seed,
            calls,
        }
    }
}

/// One connection of the load, and what it recorded.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    number: usize,
    random: Random,
    connection: Connection,
    /// What is in force outside of transactions.
    settings: Settings,
    calls: Vec<Call>,
}

/// The transaction that calls are made in.
struct Open {
    number: u64,
    snapshot: Option<Moment>,
    settings: Settings,
    /// Where its calls begin in the record.
    first: usize,
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared<'a>, number: usize) -> Self {
        let mut worker = Self {
            shared,
            number,
            random: Random::new(shared.load.seed, number),
            connection: Connection::open(shared.load.database),
            settings: Settings::USUAL,
            calls: Vec::new(),
        };
        worker.greet();
        worker
    }

    fn run(mut self) -> Vec<Call> {
        let shared = self.shared;
        while Instant::now() < shared.deadline
            || shared.transactions.load(Ordering::SeqCst) < shared.load.transactions
        {
            self.step();
        }
        self.calls
    }

    fn step(&mut self) {
        let place = self.random.below(self.shared.families.len());
        let family = self.family(place);
        if self.random.one_in(200) {
            let victim = self.random.below(self.shared.backends.len());
            let pid = self.shared.backends[victim].load(Ordering::SeqCst);
            // Its own backend is one of them, and the next call finds out.
            let _ = self.connection.terminate(pid);
        } else if self.random.one_in(2) {
            let action = self.action(family.as_ref(), true);
            self.alone(place, action);
        } else {
            self.transaction(place, family.as_ref());
        }
    }

    // ---- transactions --------------------------------------------------------------------------

    /// A call that is its own transaction.
    fn alone(&mut self, place: usize, action: Action) {
        let open = self.open(None, self.settings);
        if !self.random.one_in(40) {
            match self.call(&open, action) {
                Answer::Lost => self.lost(&open, Outcome::Unknown),
                Answer::Error(_) => self.close(place, &open, Outcome::RolledBack),
                _ => self.close(place, &open, Outcome::Committed),
            }
            return;
        }
        let begin = self.shared.clock.now();
        let after = self.a_moment();
        let rotate = self.shared.load.rotate;
        let gone = self.reconnect();
        let pid = gone.pid;
        gone.vanish_in_call(rotate, &action, after);
        self.record(&open, begin, action.clone(), Answer::Lost);
        // What an honest client does at once, while the server may not have noticed yet.
        let retry = self.open(None, self.settings);
        let answered = matches!(action, Action::Rotate { .. }).then(|| self.call(&retry, action));
        self.until_gone(pid);
        self.settle(open.first..open.first + 1, Outcome::Unknown);
        match answered {
            None => {}
            Some(Answer::Lost) => self.lost(&retry, Outcome::Unknown),
            Some(Answer::Error(_)) => self.close(place, &retry, Outcome::RolledBack),
            Some(_) => self.close(place, &retry, Outcome::Committed),
        }
    }

    /// Calls to one family in a transaction, which comes to one of the ends that transactions come to.
    fn transaction(&mut self, place: usize, family: Option<&Family>) {
        let settings = self.some_settings();
        let isolation = match self.shared.load.mix {
            Mix::All => self.random.weighted(&[
                (4, "READ COMMITTED"),
                (1, "REPEATABLE READ"),
                (1, "SERIALIZABLE"),
            ]),
            Mix::Plain => "READ COMMITTED",
        };
        let began = self.shared.clock.now();
        let open = self.open((isolation != "READ COMMITTED").then_some(began), settings);
        let sql = format!(
            "BEGIN ISOLATION LEVEL {isolation};{}",
            settings.sql("SET LOCAL")
        );
        let Some(wanted) = self.calls_in(&open, &sql, family) else {
            return self.lost(&open, Outcome::RolledBack);
        };
        match wanted {
            Outcome::Committed => match self.connection.execute("COMMIT") {
                Ok(()) => self.close(place, &open, Outcome::Committed),
                Err(error) if is_refusal(&error) => self.close(place, &open, Outcome::RolledBack),
                Err(_) => self.lost(&open, Outcome::Unknown),
            },
            Outcome::RolledBack => match self.connection.execute("ROLLBACK") {
                Ok(()) => self.close(place, &open, Outcome::RolledBack),
                Err(_) => self.lost(&open, Outcome::RolledBack),
            },
            Outcome::Unknown => {
                let after = self.a_moment();
                let gone = self.reconnect();
                let pid = gone.pid;
                gone.vanish_in_commit(after);
                self.until_gone(pid);
                self.close(place, &open, Outcome::Unknown);
            }
        }
    }

    /// Begins with `sql`, makes the calls, and says how the transaction is to end. None: the connection
    /// is gone, and COMMIT was not sent.
    fn calls_in(&mut self, open: &Open, sql: &str, family: Option<&Family>) -> Option<Outcome> {
        self.connection.execute(sql).ok()?;
        for _ in 0..=self.random.below(3) {
            let savepoint = self.random.one_in(4);
            if savepoint {
                self.connection.execute("SAVEPOINT s").ok()?;
            }
            let action = self.action(family, false);
            let last = matches!(action, Action::Issue { .. });
            let failed = match self.call(open, action) {
                Answer::Lost => return None,
                Answer::Error(_) => true,
                _ => false,
            };
            if savepoint && (failed || self.random.one_in(2)) {
                self.connection.execute("ROLLBACK TO SAVEPOINT s").ok()?;
                let undone = self.shared.clock.now();
                self.calls.last_mut()?.undone = Some(undone);
            } else if failed {
                return Some(Outcome::RolledBack);
            } else if last {
                break;
            }
        }
        let ends = [
            (16, Outcome::Committed),
            (3, Outcome::RolledBack),
            (1, Outcome::Unknown),
        ];
        Some(self.random.weighted(&ends))
    }

    fn open(&self, snapshot: Option<Moment>, settings: Settings) -> Open {
        Open {
            number: self.shared.transactions.fetch_add(1, Ordering::SeqCst),
            snapshot,
            settings,
            first: self.calls.len(),
        }
    }

    /// The transaction has ended, and the client goes by it.
    fn close(&mut self, place: usize, open: &Open, outcome: Outcome) {
        self.settle(open.first..self.calls.len(), outcome);
        for at in open.first..self.calls.len() {
            self.learn(place, at);
        }
    }

    /// The connection was lost in the transaction.
    fn lost(&mut self, open: &Open, outcome: Outcome) {
        let pid = self.reconnect().pid;
        self.until_gone(pid);
        self.settle(open.first..self.calls.len(), outcome);
    }

    /// Writes down that the outcome stands from now on.
    fn settle(&mut self, calls: std::ops::Range<usize>, outcome: Outcome) {
        let now = self.shared.clock.now();
        for call in &mut self.calls[calls] {
            call.outcome = outcome;
            call.settled = now;
            if call.answer == Answer::Lost {
                call.end = now;
            }
        }
    }

    // ---- calls -----------------------------------------------------------------------------------

    fn call(&mut self, open: &Open, action: Action) -> Answer {
        let begin = self.shared.clock.now();
        let answer = match self.connection.call(self.shared.load.rotate, &action) {
            Ok(answer) => answer,
            Err(error) => match error.code() {
                Some(code) if is_refusal(&error) => Answer::Error(code.code().into()),
                _ => Answer::Lost,
            },
        };
        self.record(open, begin, action, answer.clone());
        answer
    }

    fn record(&mut self, open: &Open, begin: Moment, action: Action, answer: Answer) {
        let end = self.shared.clock.now();
        self.calls.push(Call {
            connection: self.number,
            transaction: open.number,
            snapshot: open.snapshot,
            settings: open.settings,
            begin,
            end,
            action,
            answer,
            undone: None,
            outcome: Outcome::Unknown,
            settled: end,
        });
    }

    /// A new connection; gives the old one.
    fn reconnect(&mut self) -> Connection {
        let new = Connection::open(self.shared.load.database);
        let old = std::mem::replace(&mut self.connection, new);
        self.greet();
        old
    }

    /// What a new connection begins with.
    fn greet(&mut self) {
        self.settings = self.some_settings();
        let pid = self.connection.pid;
        self.shared.backends[self.number].store(pid, Ordering::SeqCst);
        // A connection that is gone already shows at the next call.
        let _ = self.connection.execute(&self.settings.sql("SET"));
    }

    fn until_gone(&mut self, pid: i32) {
        wait_until("the backend is gone", || {
            self.connection.is_gone(pid).unwrap_or_else(|_| {
                self.reconnect();
                false
            })
        });
    }

    fn a_moment(&mut self) -> Duration {
        Duration::from_micros(self.random.below(4000) as u64)
    }

    /// What the client knows after the call.
    fn learn(&mut self, place: usize, at: usize) {
        let call = &self.calls[at];
        let Answer::Grant(grant) = &call.answer else {
            return;
        };
        if call.is_void() {
            if let Some(ghost) = &grant.token {
                locked(&self.shared.ghosts).push(ghost.clone());
            }
            return;
        }
        let mut family = locked(&self.shared.families[place]);
        if let Action::Login { user, client } = &call.action {
            *family = Some(Family {
                user: user.clone(),
                session: grant.session(),
                client: client.clone(),
                tokens: vec![grant.token().to_owned()],
                refused: false,
            });
            return;
        }
        let Some(family) = family.as_mut() else {
            return;
        };
        let presented = call.action.token().map(str::to_owned);
        let is_own = grant.session_id == Some(family.session);
        match (&grant.token, grant.status.as_str()) {
            (Some(token), _) if is_own && !family.tokens.contains(token) => {
                family.tokens.push(token.clone());
            }
            (None, "expired" | "revoked" | "reuse_detected") if is_own => family.refused = true,
            // A login whose COMMIT was lost, and that was not committed.
            (None, "not_found")
                if presented.is_some_and(|token| family.tokens.contains(&token)) =>
            {
                family.refused = true;
            }
            _ => {}
        }
    }
}

/// Whether the server refused what it was asked, and is still there.
fn is_refusal(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code != SqlState::ADMIN_SHUTDOWN)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it is held")
}

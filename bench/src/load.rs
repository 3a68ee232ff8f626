//! The load generator: connections that refresh sessions picked at random, in a closed or open loop.

use crate::contender::{Contender, Held, Refresher};
use crate::fill::{Size, fill};
use crate::results::Sample;
use crate::server::Backend;
use hdrhistogram::Histogram;
use postgres::{Client, Config, Error, NoTls};
use refresh_tokens_tests::{Cluster, by_statements};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A contender's filled database, the clients' tokens and their connections.
pub struct Target {
    /// Who refreshes.
    pub contender: Contender,
    /// A connection that measures and takes no part in the load.
    pub admin: Client,
    config: Config,
    held: Vec<Held>,
    workers: Vec<Worker>,
}

struct Worker {
    client: Client,
    refresher: Box<dyn Refresher>,
    backend: Backend,
}

/// When to stop, and how fast to go.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections at work, each with sessions of its own.
    pub connections: usize,
    /// When to stop.
    pub until: Until,
    /// Refreshes per second over all connections (open loop: a latency counts from when the refresh
    /// was due), or as fast as answers come (closed loop).
    pub rate: Option<f64>,
}

/// When a connection stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many refreshes of a connection.
    Count(usize),
}

impl Target {
    /// A new database of `cluster` with `contender`'s tables in it, filled.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn create(cluster: &Cluster, contender: Contender, size: Size) -> Result<Self, Error> {
        let mut config = cluster.config(&cluster.create_database(), "postgres");
        let mut client = config.connect(NoTls)?;
        client.batch_execute(contender.schema())?;
        if contender == Contender::Statements {
            by_statements(&mut client);
        }
        if contender.is_supabase() {
            config.options("-c search_path=auth");
        }
        let mut admin = config.connect(NoTls)?;
        let held = fill(&mut admin, contender, size)?;
        Ok(Self {
            contender,
            admin,
            config,
            held,
            workers: Vec::new(),
        })
    }

    /// Drops the database.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn drop_database(self) -> Result<(), Error> {
        let name = self.config.get_dbname().unwrap_or_default();
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        let mut config = self.config.clone();
        drop((self.admin, self.workers));
        config.dbname("postgres");
        config.connect(NoTls)?.batch_execute(&sql)
    }

    /// One more connection to the database.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn connect(&self) -> Result<Client, Error> {
        self.config.connect(NoTls)
    }

    /// What one of the clients holds.
    ///
    /// # Panics
    /// The database was filled with nothing.
    pub fn any_held(&mut self) -> &mut Held {
        fastrand::choice(&mut self.held).expect("a session")
    }

    /// Opens connections until there are `count`, and warms each up: plans are generic then.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn open(&mut self, count: usize) -> Result<(), Error> {
        while self.workers.len() < count {
            let mut client = self.connect()?;
            let mut refresher = self.contender.prepare(&mut client)?;
            for _ in 0..20 {
                refresher.refresh(&mut client, self.any_held())?;
            }
            let backend = Backend::of(&mut client)?;
            self.workers.push(Worker {
                client,
                refresher,
                backend,
            });
        }
        Ok(())
    }

    /// Sets `name` on every open connection.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let sql = format!("SET {name} = {value}");
        self.workers
            .iter_mut()
            .try_for_each(|worker| worker.client.batch_execute(&sql))
    }

    /// Lets the open connections hand in what they counted for the statistics views.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn flush_statistics(&mut self) -> Result<(), Error> {
        self.workers.iter_mut().try_for_each(|worker| {
            worker
                .client
                .batch_execute("SELECT pg_stat_force_next_flush()")
        })
    }

    /// Puts the load on the server that one connection makes, as fast as answers come.
    ///
    /// # Errors
    /// As the server raises them.
    pub fn run_alone(&mut self, until: Until) -> Result<Sample, Error> {
        self.run(Load {
            connections: 1,
            until,
            rate: None,
        })
    }

    /// Puts `load` on the server.
    ///
    /// # Errors
    /// As the server raises them.
    ///
    /// # Panics
    /// The server refused a token.
    pub fn run(&mut self, load: Load) -> Result<Sample, Error> {
        self.open(load.connections)?;
        let share = self.held.len() / load.connections;
        let start = Barrier::new(load.connections);
        let samples: Result<Vec<_>, Error> = thread::scope(|scope| {
            let threads: Vec<_> = self.workers[..load.connections]
                .iter_mut()
                .zip(self.held.chunks_mut(share))
                .map(|(worker, held)| {
                    let (start, seed) = (&start, fastrand::u64(..));
                    scope.spawn(move || {
                        // Each thread has a generator of its own.
                        fastrand::seed(seed);
                        start.wait();
                        worker.run(held, load)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a worker that lives"))
                .collect()
        });
        Ok(sum(samples?))
    }
}

impl Worker {
    fn run(&mut self, held: &mut [Held], load: Load) -> Result<Sample, Error> {
        let mut latency = histogram();
        let cpu = self.backend.cpu();
        let start = Instant::now();
        let mut due = Due::new(load, start);
        while !load.until.is_over(latency.len(), start.elapsed()) {
            let begin = due.wait();
            let held = fastrand::choice(&mut *held).expect("a session");
            self.refresher.refresh(&mut self.client, held)?;
            latency.saturating_record(nanoseconds(begin.elapsed()));
        }
        let seconds = start.elapsed().as_secs_f64();
        let cpu = self.backend.cpu() - cpu;
        let count = latency.len();
        Ok(Sample {
            rate: count as f64 / seconds,
            cpu: cpu.as_secs_f64() * 1e6 / count as f64,
            count,
            latency,
        })
    }
}

/// When the next refresh of a connection is due.
struct Due {
    /// Between two of them, in an open loop.
    interval: Option<Duration>,
    next: Instant,
}

impl Due {
    fn new(load: Load, start: Instant) -> Self {
        let interval = |rate| Duration::from_secs_f64(load.connections as f64 / rate);
        Self {
            interval: load.rate.map(interval),
            next: start,
        }
    }

    /// Waits for it, and gives the time from which its latency counts.
    fn wait(&mut self) -> Instant {
        let Some(interval) = self.interval else {
            return Instant::now();
        };
        let due = self.next;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        self.next += interval;
        due
    }
}

impl Until {
    fn is_over(self, count: u64, elapsed: Duration) -> bool {
        match self {
            Self::Elapsed(time) => elapsed >= time,
            Self::Count(limit) => count >= limit as u64,
        }
    }
}

/// The connections' samples as one.
fn sum(samples: Vec<Sample>) -> Sample {
    let mut sum = Sample {
        rate: 0.0,
        cpu: 0.0,
        count: 0,
        latency: histogram(),
    };
    let count: u64 = samples.iter().map(|sample| sample.count).sum();
    for sample in samples {
        sum.rate += sample.rate;
        sum.cpu += sample.cpu * sample.count as f64 / count as f64;
        sum.count += sample.count;
        sum.latency += sample.latency;
    }
    sum
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("sound bounds")
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

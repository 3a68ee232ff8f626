//! What is measured, each a loop of interleaved rounds.

use crate::contender::Contender;
use crate::load::{Load, Sample, Target, Until};
use crate::report::Report;
use crate::server;
use clap::ValueEnum;
use postgres::Error;
use std::time::{Duration, Instant};

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Commit {
    /// synchronous_commit off: for nothing, which shows what the CPU does
    Off,
    /// synchronous_commit on: for the disk, which is what users get
    On,
    /// fsync off: for the operating system alone
    FsyncOff,
}

impl Commit {
    /// What it sets.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "synchronous_commit off",
            Self::On => "synchronous_commit on",
            Self::FsyncOff => "fsync off",
        }
    }

    /// Its name in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::FsyncOff => "fsync_off",
        }
    }

    fn set(self, targets: &mut [Target]) -> Result<(), Error> {
        let (synchronous_commit, fsync) = match self {
            Self::Off => ("off", "on"),
            Self::On => ("on", "on"),
            Self::FsyncOff => ("on", "off"),
        };
        for target in &mut *targets {
            target.set("synchronous_commit", synchronous_commit)?;
        }
        targets.first_mut().map_or(Ok(()), |target| {
            server::configure(&mut target.admin, &[("fsync", fsync)])
        })
    }
}

/// How often and how long.
#[derive(Clone, Copy)]
pub struct Rounds {
    /// Rounds.
    pub rounds: usize,
    /// Seconds of load in each.
    pub seconds: f64,
    /// An open loop's rate.
    pub rate: Option<f64>,
}

/// The samples of one contender at one number of connections, round by round.
pub struct Run {
    /// Who.
    pub contender: Contender,
    /// Connections.
    pub connections: usize,
    /// A sample a round.
    pub samples: Vec<Sample>,
}

/// Throughput, latency and CPU at each of `connections`, where a commit waits for `commit`.
///
/// # Errors
/// As the server raises them.
pub fn throughput(
    targets: &mut [Target],
    connections: &[usize],
    commit: Commit,
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Run>, Error> {
    let most = connections.iter().copied().max().unwrap_or(1);
    for target in &mut *targets {
        target.open(most)?;
    }
    commit.set(targets)?;
    let mut runs: Vec<_> = connections
        .iter()
        .flat_map(|&connections| {
            targets.iter().map(move |target| Run {
                contender: target.contender,
                connections,
                samples: Vec::new(),
            })
        })
        .collect();
    for round in 1..=plan.rounds {
        for (index, run) in runs.iter_mut().enumerate() {
            report.progress(&format!(
                "{}: round {round} of {}, {} connections, {}",
                commit.label(),
                plan.rounds,
                run.connections,
                run.contender.name()
            ));
            let at = index % targets.len();
            run.samples.push(targets[at].run(Load {
                connections: run.connections,
                until: Until::Elapsed(Duration::from_secs_f64(plan.seconds)),
                rate: plan.rate,
            })?);
        }
    }
    Commit::On.set(targets)?;
    Ok(runs)
}

/// What a refresh of one contender costs besides time.
pub struct Cost {
    /// Who.
    pub contender: Contender,
    /// WAL bytes a refresh without full-page images: the steady state, long after a checkpoint.
    pub wal: Vec<f64>,
    /// WAL bytes a refresh with them, right after a checkpoint: the dearest moment.
    pub wal_full_pages: Vec<f64>,
    /// Buffers asked for, a refresh.
    pub buffers: Vec<f64>,
    /// Bytes by which tables and indexes grow, a refresh.
    pub growth: Vec<f64>,
    /// The share of HOT updates of `auth.sessions` in the whole run.
    pub hot: f64,
}

/// Refreshes of one connection between two readings of the WAL's end.
const COUNT: usize = 1_000;

/// WAL, buffers, growth and HOT updates of each contender, with autovacuum off.
///
/// # Errors
/// As the server raises them.
pub fn costs(
    targets: &mut [Target],
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Cost>, Error> {
    let mut costs: Vec<_> = targets
        .iter()
        .map(|target| Cost {
            contender: target.contender,
            wal: Vec::new(),
            wal_full_pages: Vec::new(),
            buffers: Vec::new(),
            growth: Vec::new(),
            hot: f64::NAN,
        })
        .collect();
    for target in &mut *targets {
        target.open(1)?;
        // As much WAL, sooner.
        target.set("synchronous_commit", "off")?;
    }
    for round in 1..=plan.rounds {
        for (target, cost) in targets.iter_mut().zip(&mut costs) {
            report.progress(&format!(
                "WAL: round {round} of {}, {}",
                plan.rounds,
                target.contender.name()
            ));
            cost.measure(target)?;
        }
    }
    if let Some(target) = targets.first_mut() {
        server::configure(
            &mut target.admin,
            &[("autovacuum", "on"), ("full_page_writes", "on")],
        )?;
    }
    for (target, cost) in targets.iter_mut().zip(&mut costs) {
        cost.hot = server::hot_ratio(&mut target.admin)?;
    }
    Ok(costs)
}

impl Cost {
    fn measure(&mut self, target: &mut Target) -> Result<(), Error> {
        let load = Load {
            connections: 1,
            until: Until::Count(COUNT),
            rate: None,
        };
        server::configure(
            &mut target.admin,
            &[("autovacuum", "off"), ("full_page_writes", "off")],
        )?;
        target.flush_statistics()?;
        let buffers = server::buffers(&mut target.admin)?;
        let size = server::size(&mut target.admin)?;
        self.wal.push(wal_of(target, load)?);
        target.flush_statistics()?;
        let count = COUNT as f64;
        self.buffers
            .push((server::buffers(&mut target.admin)? - buffers) as f64 / count);
        self.growth
            .push((server::size(&mut target.admin)? - size) as f64 / count);

        server::configure(&mut target.admin, &[("full_page_writes", "on")])?;
        target.admin.batch_execute("CHECKPOINT")?;
        self.wal_full_pages.push(wal_of(target, load)?);
        Ok(())
    }
}

fn wal_of(target: &mut Target, load: Load) -> Result<f64, Error> {
    let start = server::wal(&mut target.admin)?;
    let sample = target.run(load)?;
    let end = server::wal(&mut target.admin)?;
    Ok((end - start) as f64 / sample.count as f64)
}

/// Calls of one kind with a string that is no token: calls a second, and CPU of each.
pub struct Refusal {
    /// What is called.
    pub name: &'static str,
    /// Calls a second, round by round.
    pub rate: Vec<f64>,
    /// Server CPU a call in microseconds, round by round.
    pub cpu: Vec<f64>,
}

/// Functions that do nothing: the same signature, called the same way. One has the attributes that a
/// function with its owner's rights needs.
const NOTHING: &str = "
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE FUNCTION bench.nothing(token text, client_id text DEFAULT NULL, user_agent text DEFAULT NULL, ip inet DEFAULT NULL)
    RETURNS auth.refresh_token_grant LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
    CREATE FUNCTION bench.nothing_definer(token text, client_id text DEFAULT NULL, user_agent text DEFAULT NULL, ip inet DEFAULT NULL)
    RETURNS auth.refresh_token_grant LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'BEGIN RETURN NULL; END';
";

const CALLED: [(&str, &str); 3] = [
    (
        "rotate_refresh_token, malformed",
        "auth.rotate_refresh_token",
    ),
    ("does nothing", "bench.nothing"),
    (
        "does nothing, SECURITY DEFINER, search_path set",
        "bench.nothing_definer",
    ),
];

/// Calls of one function in a row.
const TURN: u32 = 50;

/// How fast a malformed token is refused, beside functions that do nothing.
///
/// # Errors
/// As the server raises them.
pub fn refusals(
    target: &mut Target,
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Refusal>, Error> {
    target.admin.batch_execute(NOTHING)?;
    let mut client = target.connect()?;
    let pid = server::backend(&mut client)?;
    let mut statements = Vec::new();
    let mut refusals = Vec::new();
    for (name, function) in CALLED {
        statements.push(client.prepare(&format!("SELECT status::text FROM {function}($1)"))?);
        refusals.push(Refusal {
            name,
            rate: Vec::new(),
            cpu: Vec::new(),
        });
    }
    // As long as a token, so that it isn't the length that gives it away.
    let garbage = format!("pgrt_{}", "a".repeat(63));
    for round in 0..=plan.rounds {
        report.progress(&format!("refusals: round {round} of {}", plan.rounds));
        // In turns so short that what disturbs the machine disturbs all of them.
        let mut spent = vec![(Duration::ZERO, Duration::ZERO, 0.0); statements.len()];
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < plan.seconds {
            for (statement, (time, cpu, calls)) in statements.iter().zip(&mut spent) {
                let begin = (Instant::now(), server::cpu_time(pid));
                for _ in 0..TURN {
                    client.query_one(statement, &[&garbage])?;
                }
                *time += begin.0.elapsed();
                *cpu += server::cpu_time(pid) - begin.1;
                *calls += f64::from(TURN);
            }
        }
        // The first round warms up.
        if round > 0 {
            for (refusal, (time, cpu, calls)) in refusals.iter_mut().zip(spent) {
                refusal.rate.push(calls / time.as_secs_f64());
                refusal.cpu.push(cpu.as_secs_f64() * 1e6 / calls);
            }
        }
    }
    Ok(refusals)
}

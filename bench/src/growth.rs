//! What must not grow: the cost of a call with the table's size and the family's length, and the
//! memory of a backend with its calls.

use crate::contender::{Contender, Held};
use crate::fill::Size;
use crate::load::{Load, Target, Until};
use crate::measure::Rounds;
use crate::report::Report;
use crate::server;
use postgres::{Client, Error, Statement};
use refresh_tokens_tests::Cluster;
use std::time::Duration;

/// Rotations in a table of some size, one connection.
pub struct Scale {
    /// How they are done.
    pub contender: Contender,
    /// Tokens in the table when it was filled.
    pub rows: usize,
    /// Bytes of tables and indexes.
    pub bytes: i64,
    /// Refreshes a second, round by round.
    pub rate: Vec<f64>,
    /// Server CPU a refresh in microseconds, round by round.
    pub cpu: Vec<f64>,
}

/// Rotations by the extension, and by the floor for comparison, in tables of `sizes` tokens, in families of
/// `family`; without full-page images, which speak of the time since a checkpoint and not of the size.
///
/// # Errors
/// As the server raises them.
pub fn scale(
    cluster: &Cluster,
    sizes: &[usize],
    family: usize,
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Scale>, Error> {
    let mut scales = Vec::new();
    for contender in [Contender::Extension, Contender::Floor] {
        scales.extend(scale_of(contender, cluster, sizes, family, plan, report)?);
    }
    Ok(scales)
}

fn scale_of(
    contender: Contender,
    cluster: &Cluster,
    sizes: &[usize],
    family: usize,
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Scale>, Error> {
    let mut targets = Vec::new();
    let mut scales = Vec::new();
    for &rows in sizes {
        let name = contender.name();
        report.progress(&format!("{name}: filling a table of {rows} tokens"));
        let size = Size::of(rows, family);
        let mut target = Target::create(cluster, contender, size)?;
        target.open(1)?;
        target.set("synchronous_commit", "off")?;
        scales.push(Scale {
            contender,
            rows,
            bytes: server::size(&mut target.admin)?,
            rate: Vec::new(),
            cpu: Vec::new(),
        });
        targets.push(target);
    }
    quiet(&mut targets, true)?;
    if let Some(target) = targets.first_mut() {
        // What filling left to write would disturb the first rounds.
        target.admin.batch_execute("CHECKPOINT")?;
    }
    // The first round warms up: the system is still busy with what filling wrote.
    for round in 0..=plan.rounds {
        for (target, scale) in targets.iter_mut().zip(&mut scales) {
            let (name, rows) = (contender.name(), scale.rows);
            report.progress(&format!("{name}: {rows} tokens: round {round}"));
            let sample = target.run(Load {
                connections: 1,
                until: Until::Elapsed(Duration::from_secs_f64(plan.seconds)),
                rate: None,
            })?;
            if round > 0 {
                scale.rate.push(sample.rate);
                scale.cpu.push(sample.cpu);
            }
        }
    }
    quiet(&mut targets, false)?;
    // Those of the next contender are to have the memory alone.
    targets.into_iter().try_for_each(Target::drop_database)?;
    Ok(scales)
}

/// Nothing but the calls writes WAL: no autovacuum, no full-page images.
fn quiet(targets: &mut [Target], quiet: bool) -> Result<(), Error> {
    let state = if quiet { "off" } else { "on" };
    targets.first_mut().map_or(Ok(()), |target| {
        server::configure(
            &mut target.admin,
            &[("autovacuum", state), ("full_page_writes", state)],
        )
    })
}

/// Server CPU in microseconds of calls to families of one length, round by round.
pub struct Family {
    /// Tokens of a family when the table was filled.
    pub length: usize,
    /// Rotations.
    pub rotate: Vec<f64>,
    /// Retries: a parent once more, right after its rotation.
    pub retry: Vec<f64>,
    /// Revocations of the family, rolled back.
    pub revoke: Vec<f64>,
}

/// Calls of each kind in a round.
const CALLS: usize = 100;

/// Calls to families of `lengths` tokens, each in a table as long as the longest.
///
/// # Errors
/// As the server raises them.
pub fn families(
    cluster: &Cluster,
    lengths: &[usize],
    plan: Rounds,
    report: &mut Report,
) -> Result<Vec<Family>, Error> {
    let rows = lengths.iter().copied().max().unwrap_or(1);
    let mut targets = Vec::new();
    let mut families = Vec::new();
    for &length in lengths {
        report.progress(&format!("filling families of {length}"));
        let size = Size::of(rows, length);
        let target = Target::create(cluster, Contender::Extension, size)?;
        let caller = Caller::connect(&target)?;
        targets.push((target, caller));
        families.push(Family {
            length,
            rotate: Vec::new(),
            retry: Vec::new(),
            revoke: Vec::new(),
        });
    }
    // The first round warms up.
    for round in 0..=plan.rounds {
        for ((target, caller), family) in targets.iter_mut().zip(&mut families) {
            report.progress(&format!("families of {}: round {round}", family.length));
            let costs = caller.round(target.held())?;
            if round > 0 {
                family.rotate.push(costs[0]);
                family.retry.push(costs[1]);
                family.revoke.push(costs[2]);
            }
        }
    }
    Ok(families)
}

/// A connection whose calls are weighed one by one.
struct Caller {
    client: Client,
    pid: i32,
    rotate: Statement,
    revoke: Statement,
}

impl Caller {
    fn connect(target: &Target) -> Result<Self, Error> {
        let mut client = target.connect()?;
        client.batch_execute(
            "SET synchronous_commit = off; SET refresh_tokens.reuse_interval = '1h'",
        )?;
        Ok(Self {
            pid: server::backend(&mut client)?,
            rotate: client
                .prepare("SELECT status::text, refresh_token FROM auth.rotate_refresh_token($1)")?,
            revoke: client.prepare("SELECT auth.revoke_refresh_token($1)")?,
            client,
        })
    }

    /// The mean costs of a rotation, a retry and a revocation.
    fn round(&mut self, held: &mut [Held]) -> Result<[f64; 3], Error> {
        let mut parents = Vec::with_capacity(CALLS);
        let cpu = server::cpu_time(self.pid);
        for _ in 0..CALLS {
            let held = fastrand::choice(&mut *held).expect("a session");
            let child = self.present(&held.token, "rotated")?;
            parents.push(std::mem::replace(&mut held.token, child));
        }
        let rotate = self.since(cpu);
        // The last parent's child is live: an older one could have more to derive.
        let last = parents.last().expect("a rotation");
        let cpu = server::cpu_time(self.pid);
        for _ in 0..CALLS {
            self.present(last, "retried")?;
        }
        let retry = self.since(cpu);
        let mut spent = Duration::ZERO;
        for _ in 0..CALLS {
            let held = fastrand::choice(&*held).expect("a session");
            self.client.batch_execute("BEGIN")?;
            let cpu = server::cpu_time(self.pid);
            let row = self.client.query_one(&self.revoke, &[&held.token])?;
            spent += server::cpu_time(self.pid) - cpu;
            assert_eq!(row.get::<_, i64>(0), 1, "a live token is revoked");
            self.client.batch_execute("ROLLBACK")?;
        }
        let revoke = spent.as_secs_f64() * 1e6 / CALLS as f64;
        Ok([rotate, retry, revoke])
    }

    fn present(&mut self, token: &str, status: &str) -> Result<String, Error> {
        let row = self.client.query_one(&self.rotate, &[&token])?;
        assert_eq!(row.get::<_, &str>(0), status);
        Ok(row.get(1))
    }

    fn since(&self, start: Duration) -> f64 {
        (server::cpu_time(self.pid) - start).as_secs_f64() * 1e6 / CALLS as f64
    }
}

/// A backend's memory after some calls.
pub struct Memory {
    /// Rotations so far.
    pub calls: usize,
    /// The process's own memory, in bytes.
    pub private: u64,
    /// What PostgreSQL's memory contexts hold of it.
    pub contexts: i64,
}

/// The memory of one backend after a hundredth of `calls`, a tenth and all of them.
///
/// # Errors
/// As the server raises them.
pub fn memory(
    target: &mut Target,
    calls: usize,
    report: &mut Report,
) -> Result<Vec<Memory>, Error> {
    let mut client = target.connect()?;
    client.batch_execute("SET synchronous_commit = off")?;
    let mut refresher = target.contender.prepare(&mut client)?;
    let pid = server::backend(&mut client)?;
    let mut memory = Vec::new();
    let mut done = 0;
    for until in [calls / 100, calls / 10, calls] {
        report.progress(&format!("memory: {until} calls"));
        while done < until {
            let held = fastrand::choice(target.held()).expect("a session");
            refresher.refresh(&mut client, held)?;
            done += 1;
        }
        memory.push(Memory {
            calls: done,
            contexts: server::memory_contexts(&mut client)?,
            private: server::private_memory(pid),
        });
    }
    Ok(memory)
}

/// The cost of reading a table through a policy that asks `auth.is_session_live` for each row.
pub struct Policy {
    /// Rows of the table.
    pub rows: i64,
    /// Server CPU a row in microseconds without a policy, round by round.
    pub without: Vec<f64>,
    /// And with it.
    pub with: Vec<f64>,
}

const NOTES: &str = "
    CREATE SCHEMA IF NOT EXISTS bench;
    CREATE ROLE bench_reader;
    GRANT USAGE ON SCHEMA bench, auth TO bench_reader;
    GRANT EXECUTE ON FUNCTION auth.is_session_live(uuid) TO bench_reader;
    CREATE TABLE bench.notes AS
        SELECT s.id AS session_id FROM auth.sessions AS s, generate_series(1, 100) LIMIT 100000;
    ALTER TABLE bench.notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY live ON bench.notes USING (auth.is_session_live(session_id));
    GRANT SELECT ON bench.notes TO bench_reader;
    VACUUM (ANALYZE) bench.notes;
";

/// Reads 100,000 rows with and without the policy.
///
/// # Errors
/// As the server raises them.
pub fn policy(target: &mut Target, plan: Rounds, report: &mut Report) -> Result<Policy, Error> {
    for statement in NOTES.split_inclusive(';') {
        target.admin.batch_execute(statement)?;
    }
    let mut client = target.connect()?;
    client.batch_execute("SET max_parallel_workers_per_gather = 0")?;
    let pid = server::backend(&mut client)?;
    let mut policy = Policy {
        rows: 0,
        without: Vec::new(),
        with: Vec::new(),
    };
    for round in 0..=plan.rounds {
        report.progress(&format!("row level security: round {round}"));
        for (role, costs) in [
            ("postgres", &mut policy.without),
            ("bench_reader", &mut policy.with),
        ] {
            client.batch_execute(&format!("SET ROLE {role}"))?;
            let start = server::cpu_time(pid);
            let row = client.query_one("SELECT count(*) FROM bench.notes", &[])?;
            let spent = server::cpu_time(pid) - start;
            policy.rows = row.get(0);
            // The first round warms up.
            if round > 0 {
                costs.push(spent.as_secs_f64() * 1e6 / policy.rows as f64);
            }
        }
    }
    Ok(policy)
}

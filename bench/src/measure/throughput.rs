//! Throughput, latency and CPU.

use crate::load::{Load, Target, Until};
use crate::plan::Plan;
use crate::progress;
use crate::results::{Commit, Run};
use crate::server;
use postgres::Error;

/// Throughput, latency and CPU at each of `connections`, where a commit waits for `commit`.
///
/// # Errors
/// As the server raises them.
pub fn throughput(
    targets: &mut [Target],
    connections: &[usize],
    commit: Commit,
    plan: Plan,
) -> Result<Vec<Run>, Error> {
    let most = connections.iter().copied().max().unwrap_or(1);
    for target in &mut *targets {
        target.open(most)?;
    }
    set(commit, targets)?;
    let mut runs = runs(targets, connections);
    for round in plan.rounds() {
        for (index, run) in runs.iter_mut().enumerate() {
            let (waits, name) = (commit.label(), run.contender.name());
            let connections = run.connections;
            progress::show(format!(
                "{waits}: {round}, {connections} connections, {name}"
            ));
            let at = index % targets.len();
            run.samples.push(targets[at].run(Load {
                connections,
                until: Until::Elapsed(plan.duration()),
                rate: plan.rate,
            })?);
        }
    }
    set(Commit::On, targets)?;
    Ok(runs)
}

/// Each of `connections` for each of `targets`, in this order, without samples.
fn runs(targets: &[Target], connections: &[usize]) -> Vec<Run> {
    let mut runs = Vec::new();
    for &connections in connections {
        runs.extend(targets.iter().map(|target| Run {
            contender: target.contender,
            connections,
            samples: Vec::new(),
        }));
    }
    runs
}

fn set(commit: Commit, targets: &mut [Target]) -> Result<(), Error> {
    let (synchronous_commit, fsync) = match commit {
        Commit::Off => ("off", "on"),
        Commit::On => ("on", "on"),
        Commit::FsyncOff => ("on", "off"),
    };
    for target in &mut *targets {
        target.set("synchronous_commit", synchronous_commit)?;
    }
    targets.first_mut().map_or(Ok(()), |target| {
        server::configure(&mut target.admin, &[("fsync", fsync)])
    })
}

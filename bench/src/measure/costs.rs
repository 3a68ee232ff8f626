//! What a refresh costs besides time.

use crate::load::{Target, Until};
use crate::plan::Plan;
use crate::progress;
use crate::results::Cost;
use crate::server;
use postgres::Error;

/// Refreshes of one connection between two readings of the WAL's end.
const COUNT: usize = 1_000;

/// WAL, buffers, growth and HOT updates of each contender, with autovacuum off.
///
/// # Errors
/// As the server raises them.
pub fn costs(targets: &mut [Target], plan: Plan) -> Result<Vec<Cost>, Error> {
    let mut costs: Vec<_> = targets.iter().map(nothing_yet).collect();
    for target in &mut *targets {
        target.open(1)?;
        // As much WAL, sooner.
        target.set("synchronous_commit", "off")?;
    }
    for round in plan.rounds() {
        for (target, cost) in targets.iter_mut().zip(&mut costs) {
            progress::show(format!("WAL: {round}, {}", target.contender.name()));
            measure(cost, target)?;
        }
    }
    if let Some(target) = targets.first_mut() {
        let settings = [("autovacuum", "on"), ("full_page_writes", "on")];
        server::configure(&mut target.admin, &settings)?;
    }
    for (target, cost) in targets.iter_mut().zip(&mut costs) {
        cost.hot = server::hot_ratio(&mut target.admin)?;
    }
    Ok(costs)
}

fn nothing_yet(target: &Target) -> Cost {
    Cost {
        contender: target.contender,
        wal: Vec::new(),
        wal_full_pages: Vec::new(),
        buffers: Vec::new(),
        growth: Vec::new(),
        hot: f64::NAN,
    }
}

fn measure(cost: &mut Cost, target: &mut Target) -> Result<(), Error> {
    let settings = [("autovacuum", "off"), ("full_page_writes", "off")];
    server::configure(&mut target.admin, &settings)?;
    target.flush_statistics()?;
    let buffers = server::buffers(&mut target.admin)?;
    let size = server::size(&mut target.admin)?;
    cost.wal.push(wal(target)?);
    target.flush_statistics()?;
    let buffers = server::buffers(&mut target.admin)? - buffers;
    let growth = server::size(&mut target.admin)? - size;
    cost.buffers.push(buffers as f64 / COUNT as f64);
    cost.growth.push(growth as f64 / COUNT as f64);

    server::configure(&mut target.admin, &[("full_page_writes", "on")])?;
    target.admin.batch_execute("CHECKPOINT")?;
    cost.wal_full_pages.push(wal(target)?);
    Ok(())
}

/// WAL bytes of a refresh.
fn wal(target: &mut Target) -> Result<f64, Error> {
    let start = server::wal(&mut target.admin)?;
    let sample = target.run_alone(Until::Count(COUNT))?;
    let end = server::wal(&mut target.admin)?;
    Ok((end - start) as f64 / sample.count as f64)
}

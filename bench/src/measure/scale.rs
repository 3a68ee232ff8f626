//! What a rotation costs in tables of several sizes: it must hardly grow.

use crate::contender::Contender;
use crate::fill::Size;
use crate::load::{Target, Until};
use crate::plan::Plan;
use crate::progress;
use crate::results::Scale;
use crate::server;
use postgres::Error;
use refresh_tokens_tests::Cluster;

/// Rotations by the extension, and by the floor for comparison, in tables of `sizes` tokens, in families of
/// `family`; without full-page images, which speak of the time since a checkpoint and not of the size.
///
/// # Errors
/// As the server raises them.
pub fn scale(
    cluster: &Cluster,
    sizes: &[usize],
    family: usize,
    plan: Plan,
) -> Result<Vec<Scale>, Error> {
    let mut scales = Vec::new();
    for contender in [Contender::Extension, Contender::Floor] {
        scales.extend(scale_of(contender, cluster, sizes, family, plan)?);
    }
    Ok(scales)
}

fn scale_of(
    contender: Contender,
    cluster: &Cluster,
    sizes: &[usize],
    family: usize,
    plan: Plan,
) -> Result<Vec<Scale>, Error> {
    let mut targets = Vec::new();
    let mut scales = Vec::new();
    for &rows in sizes {
        let mut target = create(contender, cluster, rows, family)?;
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
    // While it warms up, the system is still busy with what filling wrote.
    for round in plan.with_warm_up() {
        for (target, scale) in targets.iter_mut().zip(&mut scales) {
            let (name, rows) = (contender.name(), scale.rows);
            progress::show(format!("{name}: {rows} tokens: {round}"));
            let sample = target.run_alone(Until::Elapsed(plan.duration()))?;
            if round.counts() {
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

fn create(
    contender: Contender,
    cluster: &Cluster,
    rows: usize,
    family: usize,
) -> Result<Target, Error> {
    let name = contender.name();
    progress::show(format!("{name}: filling a table of {rows} tokens"));
    let mut target = Target::create(cluster, contender, Size::of(rows, family))?;
    target.open(1)?;
    target.set("synchronous_commit", "off")?;
    Ok(target)
}

/// Nothing but the calls writes WAL: no autovacuum, no full-page images.
fn quiet(targets: &mut [Target], quiet: bool) -> Result<(), Error> {
    let state = if quiet { "off" } else { "on" };
    let settings = [("autovacuum", state), ("full_page_writes", state)];
    targets.first_mut().map_or(Ok(()), |target| {
        server::configure(&mut target.admin, &settings)
    })
}

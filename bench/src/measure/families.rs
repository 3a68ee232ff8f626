//! What calls cost in families of several lengths: it must not grow.

use super::microseconds;
use crate::contender::Contender;
use crate::fill::Size;
use crate::load::Target;
use crate::plan::Plan;
use crate::progress;
use crate::results::Family;
use crate::server::Backend;
use postgres::{Client, Error, Statement};
use refresh_tokens_tests::Cluster;
use std::time::Duration;

/// Calls of each kind in a round.
const CALLS: usize = 100;

/// Calls to families of `lengths` tokens, each in a table as long as the longest.
///
/// # Errors
/// As the server raises them.
pub fn families(cluster: &Cluster, lengths: &[usize], plan: Plan) -> Result<Vec<Family>, Error> {
    let rows = lengths.iter().copied().max().unwrap_or(1);
    let mut families = lengths
        .iter()
        .map(|&length| Families::create(cluster, rows, length))
        .collect::<Result<Vec<_>, _>>()?;
    for round in plan.with_warm_up() {
        for families in &mut families {
            let length = families.measured.length;
            progress::show(format!("families of {length}: {round}"));
            families.measure(round.counts())?;
        }
    }
    Ok(families.into_iter().map(|each| each.measured).collect())
}

/// Families of one length, their database, and a connection whose calls are weighed.
struct Families {
    measured: Family,
    target: Target,
    client: Client,
    backend: Backend,
    rotate: Statement,
    revoke: Statement,
}

impl Families {
    fn create(cluster: &Cluster, rows: usize, length: usize) -> Result<Self, Error> {
        progress::show(format!("filling families of {length}"));
        let size = Size::of(rows, length);
        let target = Target::create(cluster, Contender::Extension, size)?;
        let mut client = target.connect()?;
        client.batch_execute(
            "SET synchronous_commit = off; SET refresh_tokens.reuse_interval = '1h'",
        )?;
        let rotate =
            "SELECT status::text AS status, refresh_token FROM auth.rotate_refresh_token($1)";
        let revoke = "SELECT auth.revoke_refresh_token($1) AS revoked";
        Ok(Self {
            backend: Backend::of(&mut client)?,
            rotate: client.prepare(rotate)?,
            revoke: client.prepare(revoke)?,
            client,
            target,
            measured: Family {
                length,
                rotate: Vec::new(),
                retry: Vec::new(),
                revoke: Vec::new(),
            },
        })
    }

    fn measure(&mut self, counts: bool) -> Result<(), Error> {
        let (rotate, last) = self.rotations()?;
        let retry = self.retries(&last)?;
        let revoke = self.revocations()?;
        if counts {
            self.measured.rotate.push(rotate);
            self.measured.retry.push(retry);
            self.measured.revoke.push(revoke);
        }
        Ok(())
    }

    /// What a rotation costs, and the parent of the last one.
    fn rotations(&mut self) -> Result<(f64, String), Error> {
        let mut last = String::new();
        let start = self.backend.cpu();
        for _ in 0..CALLS {
            let held = self.target.any_held();
            let child = present(&mut self.client, &self.rotate, &held.token, "rotated")?;
            last = std::mem::replace(&mut held.token, child);
        }
        let spent = self.backend.cpu() - start;
        Ok((microseconds(spent, CALLS as f64), last))
    }

    /// What a retry with `parent` costs, whose child is live: an older one could have more to derive.
    fn retries(&mut self, parent: &str) -> Result<f64, Error> {
        let start = self.backend.cpu();
        for _ in 0..CALLS {
            present(&mut self.client, &self.rotate, parent, "retried")?;
        }
        let spent = self.backend.cpu() - start;
        Ok(microseconds(spent, CALLS as f64))
    }

    /// What a revocation costs that is rolled back.
    fn revocations(&mut self) -> Result<f64, Error> {
        let mut spent = Duration::ZERO;
        for _ in 0..CALLS {
            let held = self.target.any_held();
            self.client.batch_execute("BEGIN")?;
            let start = self.backend.cpu();
            let row = self.client.query_one(&self.revoke, &[&held.token])?;
            spent += self.backend.cpu() - start;
            let revoked: i64 = row.get("revoked");
            assert_eq!(revoked, 1, "a live token is revoked");
            self.client.batch_execute("ROLLBACK")?;
        }
        Ok(microseconds(spent, CALLS as f64))
    }
}

/// Calls `rotate` with `token`, which must be answered with `status`.
fn present(
    client: &mut Client,
    rotate: &Statement,
    token: &str,
    status: &str,
) -> Result<String, Error> {
    let row = client.query_one(rotate, &[&token])?;
    let answer: &str = row.get("status");
    assert_eq!(answer, status);
    Ok(row.get("refresh_token"))
}

//! What calls cost for users with many sessions.

use super::caller::{Caller, LIST, REVOKE_USER, ROTATE};
use crate::contender::Contender;
use crate::fill::Size;
use crate::load::Target;
use crate::plan::Plan;
use crate::progress;
use crate::results::User;
use postgres::{Error, Statement};
use refresh_tokens_tests::Cluster;

/// Calls of each kind in a round, counted by the session.
const CALLS: usize = 100;

/// Users of one kind, their database, and what is called there.
struct Users {
    measured: User,
    target: Target,
    caller: Caller,
    rotate: Statement,
    list: Statement,
    revoke: Statement,
}

/// Calls for users with `numbers` of sessions, in tables of equally many sessions of one token each.
///
/// # Errors
/// As the server raises them.
pub fn users(cluster: &Cluster, numbers: &[usize], plan: Plan) -> Result<Vec<User>, Error> {
    let rows = numbers.iter().copied().max().unwrap_or(1);
    let mut users = numbers
        .iter()
        .map(|&sessions| Users::create(cluster, rows, sessions))
        .collect::<Result<Vec<_>, _>>()?;
    for round in plan.with_warm_up() {
        for users in &mut users {
            let sessions = users.measured.sessions;
            progress::show(format!("users of {sessions} sessions: {round}"));
            users.measure(round.counts())?;
        }
    }
    Ok(users.into_iter().map(|users| users.measured).collect())
}

impl Users {
    fn create(cluster: &Cluster, rows: usize, sessions: usize) -> Result<Self, Error> {
        progress::show(format!("filling users of {sessions} sessions"));
        let size = Size::of(rows, 1).per_user(sessions);
        let target = Target::create(cluster, Contender::Extension, size)?;
        let mut caller = Caller::connect(&target)?;
        Ok(Self {
            rotate: caller.prepare(&ROTATE)?,
            list: caller.prepare(&LIST)?,
            revoke: caller.prepare(&REVOKE_USER)?,
            target,
            caller,
            measured: User {
                sessions,
                rotate: Vec::new(),
                list: Vec::new(),
                revoke: Vec::new(),
            },
        })
    }

    fn measure(&mut self, counts: bool) -> Result<(), Error> {
        let Self {
            measured,
            target,
            caller,
            ..
        } = self;
        // Equally many sessions for each kind of users, and one user at the least.
        let calls = CALLS.div_ceil(measured.sessions);
        let sessions = measured.sessions as f64;
        let rotate = caller.weigh(&ROTATE, &self.rotate, target, CALLS)?;
        let list = caller.weigh(&LIST, &self.list, target, calls)? / sessions;
        let revoke = caller.weigh(&REVOKE_USER, &self.revoke, target, calls)? / sessions;
        if counts {
            measured.rotate.push(rotate);
            measured.list.push(list);
            measured.revoke.push(revoke);
        }
        Ok(())
    }
}

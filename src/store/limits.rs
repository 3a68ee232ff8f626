//! Whose limits: what the settings of other roles allow (docs/design.md#whose-limits).

use super::plan::plan;
use super::row::{required, rows};
use super::{Store, now};
use crate::error::Error;
use crate::settings;
use pgrx::pg_sys;
use refresh_tokens_core::sessions::{Allowance, Horizon, Limit, Policy};
use std::cell::Cell;

plan!(LIMITS, stable, "limits.sql", [OIDOID, OIDOID]);

thread_local! {
    /// When the statement began that last asked, and what it was told: a policy asks for each row of a table.
    static ASKED: Cell<Option<(pg_sys::TimestampTz, Allowance)>> = const { Cell::new(None) };
}

/// What is set for somebody.
struct Set {
    limit: Limit,
    seconds: i32,
    is_everybodys: bool,
    is_own: bool,
}

impl Store<'_> {
    /// The settings in force, where the limits are those of whoever has the most lenient ones: by these it is told
    /// whether a session is live, where no token is presented. A statement that asks again is told the same.
    pub fn lenient_policy(&self) -> Result<Policy, Error> {
        // SAFETY: reads a variable of the backend.
        let statement = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
        let allowance = match ASKED.get() {
            Some((asked, allowance)) if asked == statement => allowance,
            _ => {
                let allowance = self.allowance()?;
                ASKED.set(Some((statement, allowance)));
                allowance
            }
        };
        Ok(settings::policy().most_lenient(&allowance))
    }

    /// What nobody's settings keep any longer.
    pub(super) fn horizon(&self) -> Result<Horizon, Error> {
        let allowance = self.allowance()?;
        let policy = settings::policy().most_lenient(&allowance);
        let retention = settings::retention().most_lenient(&allowance);
        Ok(Horizon::at(now(), &policy, &retention))
    }

    /// The most that anybody's settings allow. A role without a setting of its own has the database's, else the
    /// server's; and where the role of this connection has one, only the server's files tell that.
    fn allowance(&self) -> Result<Allowance, Error> {
        // SAFETY: reads two variables of the backend.
        let (database, role) = unsafe { (pg_sys::MyDatabaseId, pg_sys::GetSessionUserId()) };
        let set = rows(
            LIMITS.run(self.client, &[database.into(), role.into()])?,
            |row| {
                let limit = required::<String>(row, "name")?.parse().ok();
                let seconds = settings::to_seconds(&required::<String>(row, "value")?);
                let (is_everybodys, is_own) =
                    (required(row, "is_everybodys")?, required(row, "is_own")?);
                Ok(limit.zip(seconds).map(|(limit, seconds)| Set {
                    limit,
                    seconds,
                    is_everybodys,
                    is_own,
                }))
            },
        )?;
        let set: Vec<_> = set.into_iter().flatten().collect();
        let mut allowance = Allowance::default();
        for Set {
            limit,
            seconds,
            is_own,
            ..
        } in &set
        {
            allowance.add(*limit, *seconds);
            let is_for_all = |other: &Set| other.is_everybodys && other.limit == *limit;
            if *is_own && !set.iter().any(is_for_all) {
                allowance.add(*limit, settings::of_server(*limit));
            }
        }
        Ok(allowance)
    }
}

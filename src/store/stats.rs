//! Figures about the tables.

use super::Store;
use super::plan::plan;
use super::row::{column, required, timestamp, timestamp_argument};
use crate::error::Error;
use crate::policy::Policy;
use crate::retention::Horizon;
use crate::time::Timestamp;

plan!(
    STATS,
    stable,
    "stats.sql",
    [
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID
    ]
);

/// What `stats.sql` has.
pub struct Stats {
    /// Its first nine columns.
    pub counts: [i64; 9],
    /// When the oldest token that purge may take was revoked; none: there is none.
    pub oldest_purgeable: Option<Timestamp>,
    /// How many of the updates of sessions were HOT; none: there was no update.
    pub hot_update_ratio: Option<f64>,
}

impl Store<'_> {
    /// Figures about the tables, at `now`.
    pub fn stats(
        &self,
        now: Timestamp,
        policy: &Policy,
        horizon: &Horizon,
    ) -> Result<Stats, Error> {
        let arguments = [
            timestamp_argument(now),
            timestamp_argument(now.before(policy.session_lifetime)),
            timestamp_argument(now.before(policy.idle_timeout)),
            timestamp_argument(horizon.over),
        ];
        let row = STATS.run(self.client, &arguments)?.first();
        let mut counts = [0; 9];
        for (at, count) in counts.iter_mut().enumerate() {
            *count = required(&row, at + 1)?;
        }
        Ok(Stats {
            counts,
            oldest_purgeable: timestamp(&row, 10)?,
            hot_update_ratio: column(&row, 11)?,
        })
    }
}

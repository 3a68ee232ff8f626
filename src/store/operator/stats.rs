//! Figures about the tables.

use crate::error::Error;
use crate::store::Store;
use crate::store::plan::plan;
use crate::store::row::{column, required, timestamp, timestamp_argument};
use refresh_tokens_core::sessions::{Horizon, Policy};
use refresh_tokens_core::time::Timestamp;

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

/// The columns of `stats.sql`, which are those of `auth.refresh_token_stats`.
#[allow(missing_docs, reason = "docs/reference.md says what each column is")]
pub struct Stats {
    pub live_sessions: i64,
    pub live_tokens: i64,
    pub purgeable_tokens: i64,
    /// When the oldest token that purge may take was revoked; none: there is none.
    pub oldest_purgeable: Option<Timestamp>,
    pub sessions_table_bytes: i64,
    pub sessions_index_bytes: i64,
    pub tokens_table_bytes: i64,
    pub tokens_index_bytes: i64,
    pub sessions_dead_rows: i64,
    pub tokens_dead_rows: i64,
    /// How many of the updates of sessions were HOT, from 0 to 1; none: there was no update.
    pub sessions_hot_update_ratio: Option<f64>,
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
            timestamp_argument(now.minus(policy.session_lifetime)),
            timestamp_argument(now.minus(policy.idle_timeout)),
            timestamp_argument(horizon.over),
        ];
        let row = STATS.run(self.client, &arguments)?.first();
        let number = |name: &str| required::<i64>(&row, name);
        Ok(Stats {
            live_sessions: number("live_sessions")?,
            live_tokens: number("live_tokens")?,
            purgeable_tokens: number("purgeable_tokens")?,
            oldest_purgeable: timestamp(&row, "oldest_purgeable")?,
            sessions_table_bytes: number("sessions_table_bytes")?,
            sessions_index_bytes: number("sessions_index_bytes")?,
            tokens_table_bytes: number("tokens_table_bytes")?,
            tokens_index_bytes: number("tokens_index_bytes")?,
            sessions_dead_rows: number("sessions_dead_rows")?,
            tokens_dead_rows: number("tokens_dead_rows")?,
            sessions_hot_update_ratio: column(&row, "sessions_hot_update_ratio")?,
        })
    }
}

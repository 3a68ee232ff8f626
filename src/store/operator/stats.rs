//! Figures about the tables.

use crate::error::Error;
use crate::store::plan::plan;
use crate::store::row::{column, required, timestamp_argument};
use crate::store::{Store, now};

plan!(
    STATS,
    stable,
    "stats.sql",
    [
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
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
    pub oldest_purgeable_seconds: f64,
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
    /// Figures about the tables, by the most lenient settings of any role.
    pub fn stats(&self) -> Result<Stats, Error> {
        let (now, policy, horizon) = (now(), self.lenient_policy()?, self.horizon()?);
        let arguments = [
            timestamp_argument(now),
            timestamp_argument(now.minus(policy.session_lifetime)),
            timestamp_argument(now.minus(policy.idle_timeout)),
            timestamp_argument(horizon.over),
            timestamp_argument(horizon.created),
            timestamp_argument(horizon.refreshed),
        ];
        let row = STATS.run(self.client, &arguments)?.first();
        let number = |name: &str| required::<i64>(&row, name);
        Ok(Stats {
            live_sessions: number("live_sessions")?,
            live_tokens: number("live_tokens")?,
            purgeable_tokens: number("purgeable_tokens")?,
            oldest_purgeable_seconds: required(&row, "oldest_purgeable_seconds")?,
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

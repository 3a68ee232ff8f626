//! Purge: what is over for long is deleted, batch by batch, and nobody waited for.

use super::Store;
use super::events::has_events;
use super::plan::plan;
use super::row::{column, required, timestamp, timestamp_argument, uuids_argument};
use crate::error::Error;
use crate::retention::Horizon;
use crate::time::{Micros, Timestamp};
use pgrx::spi::SpiTupleTable;
use std::cell::Cell;
use uuid::Uuid;

plan!(
    PURGE_TOKENS,
    fresh,
    "purge_tokens.sql",
    [
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        INT8OID
    ]
);
plan!(
    PURGE_ENDED,
    fresh,
    "purge_ended.sql",
    [TIMESTAMPTZOID, INT8OID]
);
plan!(
    PURGE_SESSIONS,
    fresh,
    "purge_sessions.sql",
    [UUIDARRAYOID, INT8OID]
);
plan!(
    PURGE_EVENTS,
    fresh,
    "purge_events.sql",
    [TIMESTAMPTZOID, INT8OID]
);

/// How many rows one statement deletes at the most: its memory is bounded, whatever the batch.
const MAX_ROUND: i64 = 10_000;

const BEGINNING: Timestamp = Timestamp(i64::MIN);

thread_local! {
    /// Where the last batch of this backend stopped, by the tokens' `updated_at`. What was deleted before
    /// leaves its traces in the index until a vacuum, and what stays as evidence lies there too: to begin
    /// with both again at each batch would make a purge of n rows cost n².
    static STOPPED_AT: Cell<Option<Timestamp>> = const { Cell::new(None) };
}

/// A batch under way.
struct Batch<'a> {
    store: &'a Store<'a>,
    horizon: &'a Horizon,
    /// How many rows may still be deleted.
    left: i64,
    /// The tokens and sessions deleted so far, by which the rest of the batch is shared out.
    tokens: i64,
    sessions: i64,
}

impl Store<'_> {
    /// Deletes up to `rows` rows that lie before `horizon`, and counts them. Fewer: there are no more.
    pub fn purge(&self, horizon: &Horizon, rows: i64) -> Result<i64, Error> {
        let mut batch = Batch {
            store: self,
            horizon,
            left: rows,
            tokens: 0,
            sessions: 0,
        };
        batch.old_tokens()?;
        batch.ended_sessions()?;
        batch.old_events()?;
        Ok(rows - batch.left)
    }
}

impl Batch<'_> {
    /// All old tokens once, beginning where the last batch stopped.
    fn old_tokens(&mut self) -> Result<(), Error> {
        let from = STOPPED_AT.take().unwrap_or(BEGINNING);
        self.sweep(from, self.horizon.over)?;
        if from > BEGINNING {
            self.sweep(BEGINNING, from.min(self.horizon.over))?;
        }
        Ok(())
    }

    /// The tokens last changed from `from` till before `till`, and the sessions that are left without one.
    fn sweep(&mut self, mut from: Timestamp, till: Timestamp) -> Result<(), Error> {
        while self.left > 0 && from < till {
            let round = self.share();
            let arguments = [
                timestamp_argument(from),
                timestamp_argument(till),
                timestamp_argument(self.horizon.over),
                timestamp_argument(self.horizon.created),
                timestamp_argument(self.horizon.refreshed),
                round.into(),
            ];
            let row = PURGE_TOKENS.run(self.store.client, &arguments)?.first();
            let (due, last): (i64, _) = (required(&row, 1)?, timestamp(&row, 2)?);
            let gone = self.tokens_gone(required(&row, 4)?);
            self.emptied(&ids(&row, 3)?)?;
            if due < round {
                return Ok(());
            }
            // Whole rounds of rows that others hold, and of one time, are passed over.
            let step = Micros((gone == 0 && last == Some(from)).into());
            from = last.unwrap_or(till).plus(step);
        }
        if self.left == 0 && from < till {
            STOPPED_AT.set(Some(from));
        }
        Ok(())
    }

    /// Sessions that were ended by hand or by an earlier batch, and have no old token.
    fn ended_sessions(&mut self) -> Result<(), Error> {
        while self.left > 0 {
            let round = self.left.min(MAX_ROUND);
            let arguments = [timestamp_argument(self.horizon.over), round.into()];
            let row = PURGE_ENDED.run(self.store.client, &arguments)?.first();
            let sessions = ids(&row, 1)?;
            self.tokens_gone(required(&row, 2)?);
            if sessions.is_empty() {
                return Ok(());
            }
            self.emptied(&sessions)?;
        }
        Ok(())
    }

    fn old_events(&mut self) -> Result<(), Error> {
        while self.left > 0 && has_events() {
            let round = self.left.min(MAX_ROUND);
            let arguments = [timestamp_argument(self.horizon.events), round.into()];
            let row = PURGE_EVENTS.run(self.store.client, &arguments)?.first();
            let gone: i64 = required(&row, 1)?;
            self.left -= gone;
            if gone < round {
                return Ok(());
            }
        }
        Ok(())
    }

    /// How many tokens to delete next, so that the rest of the batch is about enough for their sessions.
    fn share(&self) -> i64 {
        let (of, all) = match self.tokens + self.sessions {
            0 => (1, 2),
            all => (self.tokens, all),
        };
        (self.left.min(MAX_ROUND) * of / all).max(1)
    }

    fn tokens_gone(&mut self, gone: i64) -> i64 {
        self.tokens += gone;
        self.left -= gone;
        gone
    }

    /// Deletes those of the locked `sessions` that have no token left. Whichever are too many for the batch
    /// get an end that is long past, if they had none, so that the next batch finds them by it.
    fn emptied(&mut self, sessions: &[Uuid]) -> Result<(), Error> {
        if sessions.is_empty() {
            return Ok(());
        }
        let arguments = [uuids_argument(sessions), self.left.into()];
        let row = PURGE_SESSIONS.run(self.store.client, &arguments)?.first();
        let gone: i64 = required(&row, 1)?;
        self.sessions += gone;
        self.left -= gone;
        let end = self.horizon.over.plus(Micros(-1));
        self.store.end_sessions(&ids(&row, 2)?, end).map(drop)
    }
}

/// An array of ids; none if it is NULL.
fn ids(row: &SpiTupleTable<'_>, at: usize) -> Result<Vec<Uuid>, Error> {
    let ids = column::<Vec<Option<pgrx::Uuid>>>(row, at)?.unwrap_or_default();
    let ids = ids.into_iter().flatten();
    Ok(ids.map(|id| Uuid::from_bytes(*id.as_bytes())).collect())
}

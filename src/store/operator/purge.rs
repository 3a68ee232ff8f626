//! Purge: what is over for long is deleted, batch by batch, and nobody waited for.

use super::events::{by_index, has_events};
use super::references::{Place, Reference};
use crate::error::Error;
use crate::store::plan::{Plan, plan};
use crate::store::row::{
    first, required, timestamp, timestamp_argument, uuid_array, uuids_argument,
};
use crate::store::{Store, write};
use pgrx::{check_for_interrupts, pg_sys};
use refresh_tokens_core::sessions::Horizon;
use refresh_tokens_core::time::{Micros, Timestamp};
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
        INT8OID,
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
    PURGE_ENDED_OF,
    fresh,
    "purge_ended_of.sql",
    [TIMESTAMPTZOID, INT8OID, UUIDARRAYOID]
);
plan!(
    PURGE_UNDATED,
    fresh,
    "purge_undated.sql",
    [TIMESTAMPTZOID, INT8OID]
);
plan!(
    PURGE_SESSIONS,
    fresh,
    "purge_sessions.sql",
    [UUIDARRAYOID, INT8OID, UUIDARRAYOID]
);
plan!(
    PURGE_EVENTS,
    fresh,
    "purge_events.sql",
    [TIMESTAMPTZOID, INT8OID]
);

plan!(OWNER, fresh, "owner.sql", []);

/// How many rows one statement deletes at the most, before the backend rests.
const MAX_ROUND: i64 = 100;

/// How long it rests, in microseconds. A process that never waits is given a processor for milliseconds
/// at a time, for which a rotation that could go on may have to wait (docs/performance.md).
const REST: i64 = 100;

thread_local! {
    /// Where the last batch of this backend stopped, by the tokens' `updated_at`. What was deleted before
    /// leaves its traces in the index until a vacuum, and what stays as evidence lies there too: to begin
    /// with both again at each batch would make a purge of n rows cost n².
    static STOPPED_AT: Cell<Option<Timestamp>> = const { Cell::new(None) };

    /// Where the last batch stopped among the ended sessions, if there are some that others refer to: those stay, and
    /// to pass over them again at each batch would be as costly.
    static STOPPED_AFTER: Cell<Option<Place>> = const { Cell::new(None) };

    /// How many rows were deleted, of late, for each token that was due: a session that is over goes with
    /// all its tokens.
    static ROWS_PER_DUE: Cell<i64> = const { Cell::new(2) };
}

/// A batch under way.
struct Batch<'a> {
    store: &'a Store<'a>,
    horizon: &'a Horizon,
    /// The foreign keys that keep sessions from being deleted.
    references: Vec<Reference>,
    /// How many rows may still be deleted.
    left: i64,
}

/// Deletes up to `rows` rows that are due now by the most lenient settings of any role, and counts them.
pub fn purge_due(rows: i64) -> Result<i64, Error> {
    write(|store| store.purge(&store.horizon()?, rows))
}

impl Store<'_> {
    /// The owner of the function that purges; none in a database where it is not there, as in version 0.1.0.
    pub fn owner(&self) -> Result<Option<pg_sys::Oid>, Error> {
        first(OWNER.run(self.client, &[])?, |row| required(row, "owner"))
    }

    /// Deletes up to `rows` rows that lie before `horizon`, and counts them. Fewer: there are no more.
    pub fn purge(&self, horizon: &Horizon, rows: i64) -> Result<i64, Error> {
        let mut batch = Batch {
            store: self,
            horizon,
            references: self.references()?,
            left: rows,
        };
        batch.old_tokens()?;
        if batch.references.is_empty() {
            batch.ended_sessions()?;
        } else {
            batch.ended_sessions_but_kept()?;
        }
        batch.undated_tokens()?;
        batch.old_events()?;
        Ok(rows - batch.left)
    }
}

impl Batch<'_> {
    /// All old tokens, beginning where the last batch stopped; in the end once from the beginning, so that
    /// nothing is left behind.
    fn old_tokens(&mut self) -> Result<(), Error> {
        let mut from = STOPPED_AT.take().unwrap_or(Timestamp::BEGINNING);
        loop {
            let before = self.left;
            let complete = self.sweep(from)? || self.left == before;
            if self.left == 0 || (complete && from == Timestamp::BEGINNING) {
                return Ok(());
            }
            from = Timestamp::BEGINNING;
        }
    }

    /// The old tokens last changed at `from` or later, and the sessions that are left without one. Gives
    /// whether no session was left with a part of its tokens.
    fn sweep(&mut self, mut from: Timestamp) -> Result<bool, Error> {
        let till = self.horizon.over;
        let mut complete = true;
        while self.left > 0 && from < till {
            let (look, limit) = self.share();
            let arguments = [
                timestamp_argument(from),
                timestamp_argument(till),
                timestamp_argument(self.horizon.over),
                timestamp_argument(self.horizon.created),
                timestamp_argument(self.horizon.refreshed),
                look.into(),
                limit.into(),
            ];
            let before = self.left;
            let row = PURGE_TOKENS.run(self.store.client, &arguments)?.first();
            let (due, last): (i64, _) = (required(&row, "due")?, timestamp(&row, "last_changed")?);
            let (ended, gone): (_, i64) = (uuid_array(&row, "sessions")?, required(&row, "gone")?);
            self.left -= gone;
            let whole = self.emptied(&ended)?;
            complete &= whole;
            ROWS_PER_DUE.set(match due {
                0 => ROWS_PER_DUE.get(),
                _ if whole => ((before - self.left) / due).max(1),
                _ => ROWS_PER_DUE.get().saturating_mul(2),
            });
            if due < look {
                return Ok(complete);
            }
            // Whole rounds of rows that others hold, and of one time, are passed over.
            let step = Micros((gone == 0 && last == Some(from)).into());
            from = last.unwrap_or(till).plus(step);
            rest();
        }
        if self.left == 0 && from < till {
            STOPPED_AT.set(Some(from));
        }
        Ok(complete)
    }

    /// Sessions that were ended by hand or by an earlier batch, and have no old token.
    fn ended_sessions(&mut self) -> Result<(), Error> {
        while self.left > 0 {
            let round = self.left.min(MAX_ROUND);
            let arguments = [timestamp_argument(self.horizon.over), round.into()];
            let row = PURGE_ENDED.run(self.store.client, &arguments)?.first();
            let sessions = uuid_array(&row, "sessions")?;
            self.left -= required::<i64>(&row, "gone")?;
            if sessions.is_empty() {
                return Ok(());
            }
            self.emptied(&sessions)?;
            rest();
        }
        Ok(())
    }

    /// As [`Batch::ended_sessions`], where there may be any number that others refer to, which stay: these are passed over,
    /// beginning where the last batch stopped; in the end once from the beginning.
    fn ended_sessions_but_kept(&mut self) -> Result<(), Error> {
        let mut start = STOPPED_AFTER.take().unwrap_or(Place::BEGINNING);
        loop {
            let mut place = start;
            while let Some((page, last)) = self.store.ended_page(self.horizon.over, place)? {
                let kept = self.store.referred(&self.references, &page)?;
                let free: Vec<_> = page.into_iter().filter(|id| !kept.contains(id)).collect();
                for sessions in free.chunks(MAX_ROUND as usize) {
                    self.ended_of(sessions)?;
                    if self.left == 0 {
                        STOPPED_AFTER.set(Some(place));
                        return Ok(());
                    }
                }
                place = last;
            }
            if start == Place::BEGINNING {
                return Ok(());
            }
            start = Place::BEGINNING;
        }
    }

    /// Those of `sessions` that have ended, with their tokens.
    fn ended_of(&mut self, sessions: &[Uuid]) -> Result<(), Error> {
        while self.left > 0 {
            let round = self.left.min(MAX_ROUND);
            let arguments = [
                timestamp_argument(self.horizon.over),
                round.into(),
                uuids_argument(sessions),
            ];
            let row = PURGE_ENDED_OF.run(self.store.client, &arguments)?.first();
            let gone: i64 = required(&row, "gone")?;
            self.left -= gone;
            self.emptied(&uuid_array(&row, "sessions")?)?;
            rest();
            if gone < round {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tokens that somebody has damaged, and that no time leads to.
    fn undated_tokens(&mut self) -> Result<(), Error> {
        self.delete(&PURGE_UNDATED, self.horizon.over)
    }

    fn old_events(&mut self) -> Result<(), Error> {
        if !has_events() {
            return Ok(());
        }
        let _by_index = by_index();
        self.delete(&PURGE_EVENTS, self.horizon.events)
    }

    /// Deletes by `plan` what lies `before` a time, round after round.
    fn delete(&mut self, plan: &Plan, before: Timestamp) -> Result<(), Error> {
        while self.left > 0 {
            let round = self.left.min(MAX_ROUND);
            let arguments = [timestamp_argument(before), round.into()];
            let row = plan.run(self.store.client, &arguments)?.first();
            let gone: i64 = required(&row, "gone")?;
            self.left -= gone;
            if gone < round {
                return Ok(());
            }
            rest();
        }
        Ok(())
    }

    /// How many due tokens to look at next, and how many tokens to delete at the most, so that the rest of
    /// the batch is about enough for both the tokens and their sessions.
    fn share(&self) -> (i64, i64) {
        let round = self.left.min(MAX_ROUND);
        let look = (round / ROWS_PER_DUE.get()).max(1);
        (look, look.max(round - look))
    }

    /// Deletes those of the locked `sessions` that have no token left, and that nobody refers to. The others get an end that
    /// is long past, if they had none. By it the next batch finds them, and nothing revives what is deleted in part; and
    /// their rows are written, so that a transaction with an older snapshot can't lock them. Gives whether none is left for
    /// another batch.
    fn emptied(&mut self, sessions: &[Uuid]) -> Result<bool, Error> {
        if sessions.is_empty() {
            return Ok(true);
        }
        // Asked under the lock, which whoever begins to refer to one waits for.
        let kept = self.store.referred(&self.references, sessions)?;
        let kept: Vec<_> = kept.into_iter().collect();
        let arguments = [
            uuids_argument(sessions),
            self.left.into(),
            uuids_argument(&kept),
        ];
        let row = PURGE_SESSIONS.run(self.store.client, &arguments)?.first();
        let gone: i64 = required(&row, "gone")?;
        self.left -= gone;
        let end = self.horizon.over.plus(Micros(-1));
        self.store
            .end_sessions(&uuid_array(&row, "left_over")?, end)?;
        Ok(required::<i64>(&row, "waiting")? == 0)
    }
}

/// Lets others have the processor for a moment.
fn rest() {
    // SAFETY: sleeps, and keeps nothing; an interrupt that came meanwhile is taken afterwards.
    unsafe { pg_sys::pg_usleep(REST) };
    check_for_interrupts!();
}

//! Events: recorded and sent in the transaction of what they tell of.

use crate::error::Error;
use crate::store::Store;
use crate::store::plan::plan;
use crate::store::row::{required, timestamp_argument};
use crate::store::scoped_setting::ScopedSetting;
use crate::store::tokens::Caller;
use pgrx::pg_sys;
use pgrx::spi::SpiTupleTable;
use refresh_tokens_core::label::Label;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::Event;

plan!(
    RECORD,
    fresh,
    "record.sql",
    [
        TEXTOID,
        INT8ARRAYOID,
        TIMESTAMPTZOID,
        TEXTOID,
        TEXTOID,
        INETOID,
        BOOLOID
    ]
);

plan!(
    RECORD_FAILURE,
    fresh,
    "record_failure.sql",
    [TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INETOID, INT8OID]
);
plan!(
    RECORD_BATCH,
    fresh,
    "record_batch.sql",
    [TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INETOID]
);
plan!(SEND, fresh, "send.sql", [INT8OID]);

/// How many failures are recorded in a minute, whatever names and addresses they come under.
const FAILURES_PER_MINUTE: i64 = 60;

impl Store<'_> {
    /// Records that `event` happened to `tokens` at the time `at`, and sends it if it `notifies`. Gives whether it is
    /// news.
    ///
    /// The same event of the same token is recorded once a minute at the most: who presents a token
    /// again and again fills no table.
    pub fn record(
        &self,
        event: Event,
        tokens: &[i64],
        at: Timestamp,
        caller: &Caller<'_>,
        notifies: bool,
    ) -> Result<bool, Error> {
        if tokens.is_empty() || !has_events() {
            return Ok(!tokens.is_empty());
        }
        let arguments = [
            event.label().into(),
            tokens.to_vec().into(),
            timestamp_argument(at),
            event.reason().into(),
            caller.user_agent.into(),
            caller.ip.clone().into(),
            notifies.into(),
        ];
        let _by_index = by_index();
        Ok(!RECORD.run(self.client, &arguments)?.is_empty())
    }

    /// Records `event`, which has to do with no token, at the time `at`, and sends it if it `notifies`; whether it was
    /// recorded.
    ///
    /// Names and addresses are the caller's to choose. So the same one is recorded once a minute at the most, and no
    /// more than [`FAILURES_PER_MINUTE`] of all together; of those that run at the same time, one each.
    pub fn record_failure(
        &self,
        event: Event,
        reason: Option<&str>,
        at: Timestamp,
        caller: &Caller<'_>,
        notifies: bool,
    ) -> Result<bool, Error> {
        if !has_events() {
            return Ok(false);
        }
        let arguments = [
            event.label().into(),
            timestamp_argument(at),
            reason.into(),
            caller.user_agent.into(),
            caller.ip.clone().into(),
            FAILURES_PER_MINUTE.into(),
        ];
        let by_index = by_index();
        let event = RECORD_FAILURE.run(self.client, &arguments)?;
        drop(by_index);
        self.send_recorded(event, notifies)
    }

    /// Records `event`, which has to do with so many tokens that one row tells of all of them, at the time `at`, and sends
    /// it if it `notifies`.
    pub fn record_batch(
        &self,
        event: Event,
        reason: &str,
        at: Timestamp,
        caller: &Caller<'_>,
        notifies: bool,
    ) -> Result<(), Error> {
        if !has_events() {
            return Ok(());
        }
        let arguments = [
            event.label().into(),
            timestamp_argument(at),
            reason.into(),
            caller.user_agent.into(),
            caller.ip.clone().into(),
        ];
        let event = RECORD_BATCH.run(self.client, &arguments)?;
        self.send_recorded(event, notifies).map(drop)
    }

    /// Tells those who listen of the `event` in this row, when the transaction commits, if it `notifies`; whether there
    /// is a row.
    fn send_recorded(&self, event: SpiTupleTable<'_>, notifies: bool) -> Result<bool, Error> {
        let row = event.first();
        if row.is_empty() {
            return Ok(false);
        }
        if notifies {
            let id: i64 = required(&row, "event_id")?;
            SEND.run(self.client, &[id.into()])?;
        }
        Ok(true)
    }
}

/// As long as it lives, statements find events by an index. The planner takes a table that was never analyzed for small, and
/// a plan that was made while it was small is kept: they would read all events for each one.
pub(super) fn by_index() -> ScopedSetting {
    ScopedSetting::new(c"enable_seqscan", c"off")
}

/// Whether the table of events is there: in the schema of version 0.1.0 it isn't.
pub(super) fn has_events() -> bool {
    // SAFETY: both names end in NUL and are only read.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"auth".as_ptr(), true);
        pg_sys::get_relname_relid(c"refresh_token_events".as_ptr(), schema) != pg_sys::InvalidOid
    }
}

//! Events: recorded and sent in the transaction of what they tell of.

use super::Store;
use super::plan::plan;
use super::present::Caller;
use super::row::timestamp_argument;
use crate::error::Error;
use crate::event::Event;
use crate::time::Timestamp;
use pgrx::pg_sys;

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
        Ok(!RECORD.run(self.client, &arguments)?.is_empty())
    }
}

/// Whether the table of events is there: in the schema of version 0.1.0 it isn't.
pub(super) fn has_events() -> bool {
    // SAFETY: both names end in NUL and are only read.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"auth".as_ptr(), true);
        pg_sys::get_relname_relid(c"refresh_token_events".as_ptr(), schema) != pg_sys::InvalidOid
    }
}

//! Events, as far as the setting `refresh_tokens.events` asks for them.

use crate::error::Error;
use crate::event::Event;
use crate::settings;
use crate::store::{Caller, Store};
use crate::time::Timestamp;

/// Records that `event` happened to `tokens` at the time `at`, if such events are recorded. Gives whether it is news:
/// it is not if the same was recorded in the last minute.
pub(super) fn record(
    store: &Store<'_>,
    event: Event,
    tokens: &[i64],
    at: Timestamp,
    caller: &Caller<'_>,
) -> Result<bool, Error> {
    if !settings::recorded().includes(event) {
        return Ok(true);
    }
    store.record(event, tokens, at, caller, notifies(event))
}

/// Whether `event` is sent when it is recorded.
pub(super) fn notifies(event: Event) -> bool {
    event.is_security() && settings::notify()
}

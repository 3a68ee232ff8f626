//! Events, as far as the setting `refresh_tokens.events` asks for them.

use super::argument;
use crate::counters;
use crate::error::{self, Error};
use crate::event::{Event, Throttle};
use crate::settings;
use crate::store::{self, Caller, Store};
use crate::time::Timestamp;
use crate::token::PREFIX;
use std::cell::Cell;

thread_local! {
    static FAILURES: Cell<Throttle> = const { Cell::new(Throttle::new()) };
}

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

/// Counts that somebody could not show to be `client`, records it and writes it to the log: both as often as it
/// is news, and no more. What is recorded is the caller's to take back with its transaction; the count and
/// the line are not.
pub(super) fn record_failed_authentication(
    store: &Store<'_>,
    client: Option<&str>,
    caller: &Caller<'_>,
) -> Result<(), Error> {
    counters::count_failed_authentication();
    // A token that was sent in the wrong place is not written down.
    let client = client.filter(|name| !name.contains(PREFIX));
    let client = client.map(argument::beginning);
    let (event, now) = (Event::ClientAuthenticationFailed, store::now());
    let is_news = match settings::recorded().includes(event) {
        true => store.record_failure(event, client, now, caller, notifies(event))?,
        false => true,
    };
    if is_news && let Some(throttle) = FAILURES.get().after_line(now) {
        FAILURES.set(throttle);
        error::log_failed_authentication(client);
    }
    Ok(())
}

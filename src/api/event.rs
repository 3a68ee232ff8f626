//! Events, as far as the setting `refresh_tokens.events` asks for them.

use super::argument;
use crate::background::counters;
use crate::error::Error;
use crate::store::{self, Caller, Store};
use crate::{log, postgrest, settings};
use refresh_tokens_core::oauth::headers::Headers;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::PREFIX;
use refresh_tokens_core::verdict::Event;

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
    if is_news {
        log::failed_authentication(client, now);
    }
    Ok(())
}

/// Records that the families of the `revoked` tokens were revoked, by whom if PostgREST says so, and counts the tokens.
pub(super) fn record_revocation(store: &Store<'_>, revoked: &[i64]) -> Result<i64, Error> {
    let headers = postgrest::request_headers();
    let event = Event::FamilyRevoked;
    record(store, event, revoked, store::now(), &caller(&headers))?;
    Ok(revoked.len() as i64)
}

/// Records that a batch of sessions was ended, or of tokens without a session revoked: how many of `what`. A row for each
/// would cost as much as to end it, and who waits for the notifications to be sent waits for all of them.
pub(super) fn record_batch(store: &Store<'_>, count: usize, what: &str) -> Result<(), Error> {
    let event = Event::SessionsRevoked;
    if count == 0 || !settings::recorded().includes(event) {
        return Ok(());
    }
    let headers = postgrest::request_headers();
    let (reason, now) = (format!("{count} {what}"), store::now());
    store.record_batch(event, &reason, now, &caller(&headers), notifies(event))
}

/// Who sent `headers`, as far as it is recorded.
pub(super) fn caller(headers: &Headers) -> Caller<'_> {
    let address = headers.client_address(settings::trusted_proxies());
    Caller {
        user_agent: argument::user_agent(headers.user_agent()),
        ip: address.map(|address| pgrx::Inet(address.to_string())),
    }
}

use crate::api::argument::{self, AalLevel};
use crate::api::event::record;
use crate::api::grant_row::GrantRow;
use crate::background::counters;
use crate::error::Error;
use crate::random::{random, random_uuid};
use crate::settings;
use crate::store::{self, Caller, NewSession, Store};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::sessions::{Policy, Session};
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::{Slot, Token};
use refresh_tokens_core::verdict::{Event, Grant, Status};
use uuid::Uuid;

/// Issues a token: opens a session for a user who has just logged in, or puts a new token in place of
/// the live one of an existing session (after a step-up of its assurance level, say).
///
/// Takes the user (an application's own key, at most 255 characters); the session to issue into, or
/// NULL for a new one; and what the application knows of it, all of which may be NULL: the instance,
/// the OAuth client that the tokens are bound to, the scopes consented to, the assurance level, a tag
/// that `refresh_tokens.max_sessions_per_user` is counted by, an absolute end, user agent and address.
/// For an existing session NULL leaves a value as it is, and `client_id` must be the session's own.
///
/// Returns one row of `auth.refresh_token_grant` with status `issued`: the only time that this token
/// is ever shown.
///
/// # Errors
/// 22004, 22023, 22001 for a `user_id` that is NULL, empty, or longer than 255 characters; 22001 for
/// such a `client_id`; 22023 for a `not_after` that is not in the future; 23503 for a session that is
/// not this user's; 55000 for one that has ended or is bound to another client; 25006 in a read-only
/// transaction; 40001 as for `auth.rotate_refresh_token`, and under those isolation levels where other
/// sessions of the user can't be seen and counted.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::too_many_arguments,
    reason = "the SQL function's signature is the contract"
)]
pub fn issue_refresh_token(
    user_id: Option<&str>,
    session_id: default!(Option<pgrx::Uuid>, "NULL"),
    instance_id: default!(Option<pgrx::Uuid>, "NULL"),
    client_id: default!(Option<&str>, "NULL"),
    scopes: default!(Option<&str>, "NULL"),
    aal: default!(Option<AalLevel>, "NULL"),
    tag: default!(Option<&str>, "NULL"),
    not_after: default!(Option<TimestampWithTimeZone>, "NULL"),
    user_agent: default!(Option<&str>, "NULL"),
    ip: default!(Option<pgrx::Inet>, "NULL"),
) -> Result<GrantRow, ErrorReport> {
    let user_id = argument::user_id(user_id)?;
    let new = NewSession {
        instance_id: argument::uuid(instance_id),
        client_id: argument::client_id(client_id)?,
        scopes,
        aal: aal.as_ref().map(|AalLevel(label)| label.as_str()),
        tag,
        not_after: argument::not_after(not_after, store::now())?,
        user_agent: argument::user_agent(user_agent),
        ip,
    };
    let policy = settings::policy();
    let session_id = argument::uuid(session_id);
    let grant = store::write(|store| issue(store, user_id, session_id, new, &policy))?;
    Ok(GrantRow(grant))
}

/// Issues a token to `user_id`, into a new session or into `session_id`.
pub(in crate::api) fn issue(
    store: &Store<'_>,
    user_id: &str,
    session_id: Option<Uuid>,
    new: NewSession<'_>,
    policy: &Policy,
) -> Result<Grant, Error> {
    let caller = Caller {
        user_agent: new.user_agent,
        ip: new.ip.clone(),
    };
    let grant = match session_id {
        Some(id) => issue_into(store, id, user_id, new, policy),
        None => open_session(store, user_id, new, &caller, policy),
    }?;
    let tokens = grant.token_id.as_slice();
    record(store, Event::Issued, tokens, store::now(), &caller)?;
    counters::count(grant.status);
    Ok(grant)
}

fn open_session(
    store: &Store<'_>,
    user_id: &str,
    new: NewSession<'_>,
    caller: &Caller<'_>,
    policy: &Policy,
) -> Result<Grant, Error> {
    if let Some(max) = policy.max_sessions_per_user {
        store.serialize_logins(user_id, new.tag);
        evict_over_cap(store, user_id, new.tag, max, caller)?;
    }
    let now = store::now();
    let id = random_uuid()?;
    let token = first_token(id)?;
    let session = Session {
        id: Some(id),
        user_id: Some(user_id.into()),
        client_id: new.client_id.map(Into::into),
        created_at: now,
        updated_at: now,
        refreshed_at: None,
        not_after: new.not_after,
    };
    let row = store.issue(id, user_id, &token.digest(), new, now)?;
    Ok(Grant::granted(
        Status::Issued,
        Some(token),
        &session,
        row,
        policy,
    ))
}

/// Ends as many of the user's sessions with `tag` as it takes for one more to be within `max`: the
/// ones refreshed longest ago.
fn evict_over_cap(
    store: &Store<'_>,
    user_id: &str,
    tag: Option<&str>,
    max: i64,
    caller: &Caller<'_>,
) -> Result<(), Error> {
    // Whoever's sessions they are by: those that auth.list_sessions shows.
    let live = store.live_sessions(user_id, tag, &store.lenient_policy()?, store::now())?;
    let keep = usize::try_from(max - 1).unwrap_or(usize::MAX);
    if let Some(over @ [_, ..]) = live.get(keep..) {
        let locked = store.lock_sessions(over)?;
        let now = store::now();
        let evicted = store.end_sessions(&locked, now)?;
        record(store, Event::SessionEvicted, &evicted, now, caller)?;
    }
    Ok(())
}

fn issue_into(
    store: &Store<'_>,
    id: Uuid,
    user_id: &str,
    new: NewSession<'_>,
    policy: &Policy,
) -> Result<Grant, Error> {
    let session = store.lock_session(id)?.ok_or(Error::SessionUnknown)?;
    let now = store::now();
    may_issue_into(&session, user_id, new.client_id, policy, now)?;
    let token = first_token(id)?;
    let session = Session {
        not_after: new.not_after.or(session.not_after),
        ..session.refreshed(now)
    };
    let row = store.issue_into(id, &token.digest(), new, now)?;
    Ok(Grant::granted(
        Status::Issued,
        Some(token),
        &session,
        row,
        policy,
    ))
}

fn may_issue_into(
    session: &Session,
    user_id: &str,
    client_id: Option<&str>,
    policy: &Policy,
    now: Timestamp,
) -> Result<(), Error> {
    if session.user_id.as_deref() != Some(user_id) {
        return Err(Error::SessionUnknown);
    }
    if session.expiry(policy, now).is_some() {
        return Err(Error::SessionEnded);
    }
    if client_id.is_some() && client_id != session.client_id.as_deref() {
        return Err(Error::SessionOfOtherClient);
    }
    Ok(())
}

/// A token that descends from no other, for the session `id`.
fn first_token(id: Uuid) -> Result<Token, Error> {
    Ok(Token::new(Slot::of(id), &*random()?))
}

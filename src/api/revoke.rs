use super::argument;
use super::endpoint::caller;
use super::event::record;
use super::present::{parse, stored_value};
use crate::error::Error;
use crate::event::Event;
use crate::gateway;
use crate::store::{self, Store};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use uuid::Uuid;

/// Ends the family of a token (RFC 7009, section 2.1: the grant is revoked with the token).
///
/// Takes the token as the client holds it, live or not. Returns how many tokens were live till then:
/// 1, or 0 if the family had ended already or the token is NULL, malformed or unknown (RFC 7009,
/// section 2.2: that is no error).
///
/// # Errors
/// 25006 in a read-only transaction; 40001 as for `auth.rotate_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_refresh_token(token: Option<&str>) -> Result<i64, ErrorReport> {
    let Some(token) = parse(token) else {
        return Ok(0);
    };
    Ok(store::write(|store| {
        let revoked = store.revoke_family(token.digest().as_str())?;
        told(store, &revoked)
    })?)
}

/// Ends the family that descends from `parent`.
///
/// Takes a token, or whatever value the table's columns `token` and `parent` show. Returns how many
/// tokens were live till then; 0 for NULL and for what is not in the table.
///
/// # Errors
/// As `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_token_family(parent: Option<&str>) -> Result<i64, ErrorReport> {
    let Some(parent) = parent else {
        return Ok(0);
    };
    let parent = stored_value(parent);
    Ok(store::write(|store| {
        let revoked = store.revoke_family(parent.as_str())?;
        told(store, &revoked)
    })?)
}

/// Ends a session: logout on one device.
///
/// Takes the session's id. Returns how many tokens were live till then; 0 for NULL, for an unknown
/// session, and for one that has ended.
///
/// # Errors
/// As `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_session(session_id: Option<pgrx::Uuid>) -> Result<i64, ErrorReport> {
    let Some(id) = argument::uuid(session_id) else {
        return Ok(0);
    };
    Ok(store::write(|store| end_session(store, id))?)
}

/// Ends the session `id`, and counts the tokens that were live till then.
pub(super) fn end_session(store: &Store<'_>, id: Uuid) -> Result<i64, Error> {
    let locked = store.lock_sessions(&[id])?;
    let revoked = store.end_sessions(&locked, store::now())?;
    told(store, &revoked)
}

/// Ends all sessions of a user: logout everywhere, or everywhere else.
///
/// Takes the user, and a session to spare (NULL: none). Returns how many tokens were live till then.
/// A login that commits while this call runs is not ended by it.
///
/// # Errors
/// 22004, 22023, 22001 for a `user_id` that is NULL, empty, or longer than 255 characters; else as
/// `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_user_sessions(
    user_id: Option<&str>,
    except_session: default!(Option<pgrx::Uuid>, "NULL"),
) -> Result<i64, ErrorReport> {
    let user_id = argument::user_id(user_id)?;
    let except = argument::uuid(except_session);
    Ok(store::write(|store| {
        end_user_sessions(store, user_id, except)
    })?)
}

/// Ends the sessions of `user_id` but for `except`, and counts the tokens that were live till then.
pub(super) fn end_user_sessions(
    store: &Store<'_>,
    user_id: &str,
    except: Option<Uuid>,
) -> Result<i64, Error> {
    let locked = store.lock_user_sessions(user_id, except)?;
    let revoked = store.end_sessions(&locked, store::now())?;
    told(store, &revoked)
}

/// Records that the families of the `revoked` tokens were revoked, by whom if the gateway says so, and
/// counts the tokens.
pub(super) fn told(store: &Store<'_>, revoked: &[i64]) -> Result<i64, Error> {
    let headers = gateway::request_headers();
    let event = Event::FamilyRevoked;
    record(store, event, revoked, store::now(), &caller(&headers))?;
    Ok(revoked.len() as i64)
}

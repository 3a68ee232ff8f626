use crate::api::argument;
use crate::api::event::record_revocation;
use crate::error::Error;
use crate::store::{self, Store};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use uuid::Uuid;

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
pub(in crate::api) fn end_session(store: &Store<'_>, id: Uuid) -> Result<i64, Error> {
    let locked = store.lock_sessions(&[id])?;
    let revoked = store.end_sessions(&locked, store::now())?;
    record_revocation(store, &revoked)
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
pub(in crate::api) fn end_user_sessions(
    store: &Store<'_>,
    user_id: &str,
    except: Option<Uuid>,
) -> Result<i64, Error> {
    let locked = store.lock_user_sessions(user_id, except)?;
    let revoked = store.end_sessions(&locked, store::now())?;
    record_revocation(store, &revoked)
}

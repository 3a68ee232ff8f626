use super::argument;
use crate::error::Error;
use crate::{gateway, settings, store};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use uuid::Uuid;

/// Whether a session is live: for row level security policies, and for a check of the access token's
/// session at each request (RFC 7009, section 2.1: access tokens end with the grant).
///
/// Takes the session's id. Returns false for NULL, for an unknown session, and for one that was ended
/// or is past its end. Works on a standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn is_session_live(session_id: Option<pgrx::Uuid>) -> Result<bool, ErrorReport> {
    let Some(id) = argument::uuid(session_id) else {
        return Ok(false);
    };
    Ok(is_live(id)?)
}

/// Whether the session that the claims of the access token name is live: what `auth.check_session()`
/// asks.
///
/// Takes nothing. Returns true without claims, and for claims that name no session: those are not of this
/// extension's tokens. Works on a standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn is_my_session_live() -> Result<bool, ErrorReport> {
    let id = gateway::claims().and_then(|claims| claims.session_id);
    Ok(id.map_or(Ok(true), is_live)?)
}

fn is_live(id: Uuid) -> Result<bool, Error> {
    let policy = settings::policy();
    let session = store::read(|store| store.session(id))?;
    Ok(session.is_some_and(|session| session.expiry(&policy, store::now()).is_none()))
}

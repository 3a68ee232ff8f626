//! What a user may do with its own sessions, and with nobody else's: the user is the one whom the claims
//! of the access token name, which a gateway has verified (the setting `refresh_tokens.claims_setting`).

use super::end::{end_session, end_user_sessions};
use crate::api::argument;
use crate::error::Error;
use crate::{postgrest, store};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Ends a session of the calling user: logout on one of its devices.
///
/// Takes the session's id. Returns how many tokens were live till then; 0 for NULL, for a session that is
/// unknown, has ended or is another user's, and without claims that name a user.
///
/// # Errors
/// As `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_my_session(session_id: Option<pgrx::Uuid>) -> Result<i64, ErrorReport> {
    let claims = postgrest::claims();
    let (Some(id), Some(user_id)) = (argument::uuid(session_id), claims.user_id()) else {
        return Ok(0);
    };
    Ok(store::write(|store| {
        // Looked at first, so that nobody can lock another user's session.
        let is_own = |user: Option<String>| user.as_deref() == Some(user_id);
        if !store
            .session(id)?
            .is_some_and(|session| is_own(session.user_id))
        {
            return Ok(0);
        }
        end_session(store, id)
    })?)
}

/// Ends all sessions of the calling user but the one that the access token belongs to: logout everywhere
/// else.
///
/// Takes nothing: user and session are the claims `sub` and `session_id`. Returns how many tokens were live
/// till then; 0 without claims that name a user.
///
/// # Errors
/// 22023 if the claims name a user and no session, or one that can't be read; else as `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_my_other_sessions() -> Result<i64, ErrorReport> {
    let claims = postgrest::claims();
    let Some(user_id) = claims.user_id() else {
        return Ok(0);
    };
    let own = claims.session_id().ok_or(Error::NoSessionClaim)?;
    Ok(store::write(|store| {
        end_user_sessions(store, user_id, Some(own))
    })?)
}

use crate::api::argument;
use crate::error::Error;
use crate::store::{self, Store};
use crate::{postgrest, settings};
use pgrx::datum::Internal;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::claims::{BoundTo, Claims};
use refresh_tokens_core::sessions::Expiry;
use uuid::Uuid;

/// Whether a session is live: for row level security policies, and for a check of the access token's
/// session at each request (RFC 7009, section 2.1: access tokens end with the grant).
///
/// Takes the session's id. Returns false for NULL, for an unknown session, and for one that was ended
/// or is past its end by the settings of every role. Works on a standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn is_session_live(session_id: Option<pgrx::Uuid>) -> Result<bool, ErrorReport> {
    let Some(id) = argument::uuid(session_id) else {
        return Ok(false);
    };
    Ok(store::read(|store| is_live(store, id))?)
}

/// What PostgreSQL calls when it plans a call of `auth.is_session_live` (its support function): so that this library, and
/// with it its settings, is there before the query runs. In a query that is parallel nobody can set anything any more:
/// who loads the library then, be it a worker or its leader, has the defaults, whatever is set for the role.
///
/// Takes and returns what PostgreSQL wants; simplifies nothing.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[expect(unused_variables, reason = "the name of the SQL function's argument")]
pub fn plan_is_session_live(request: Option<Internal>) -> Internal {
    Internal::from(Some(pg_sys::Datum::null()))
}

/// Whether the session that the claims of the access token name is live: what `auth.check_session()`
/// asks.
///
/// Takes nothing. Returns true without claims, and for claims without `session_id`: those are not of this
/// extension's tokens. Returns false for claims that can't be read: no JSON object, a `session_id` that is no
/// UUID, or one beside a `sub` that is no string or empty. Works on a standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn is_my_session_live() -> Result<bool, ErrorReport> {
    let claims = postgrest::claims();
    Ok(store::read(|store| is_good(store, &claims))?)
}

/// Whether `claims` are good: the session that they name, if they name one, is live.
pub(in crate::api) fn is_good(store: &Store<'_>, claims: &Claims) -> Result<bool, Error> {
    match claims.bound_to() {
        BoundTo::Nothing => Ok(true),
        BoundTo::Unreadable => Ok(false),
        BoundTo::Session(id) => is_live(store, id),
    }
}

fn is_live(store: &Store<'_>, id: Uuid) -> Result<bool, Error> {
    let Some(session) = store.session(id)? else {
        return Ok(false);
    };
    let now = store::now();
    // What is live by the settings in force is live by more lenient ones: those are looked up for the others alone.
    Ok(match session.expiry(&settings::policy(), now) {
        None => true,
        Some(Expiry::NotAfter) => false,
        Some(Expiry::SessionLifetime | Expiry::IdleTimeout) => {
            session.expiry(&store.lenient_policy()?, now).is_none()
        }
    })
}

//! Sessions in rows: a user's devices.

use crate::api::argument;
use crate::api::grant_row::time;
use crate::error::Error;
use crate::postgrest;
use crate::store::{self, Device};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::sessions::Policy;

/// The live sessions of a user, a row each, the one refreshed last first: what a page of devices shows.
///
/// Takes the user. A row has no secret: the session, when it was opened and last refreshed (NULL: not
/// since the login), address, user agent, tag, OAuth client, assurance level, when it ends if it is not
/// used and when it ends anyway (NULL: never), and how often it was rotated. It is live, and ends, by the most
/// lenient settings that any role has.
///
/// Works on a standby and in a read-only transaction.
///
/// # Errors
/// 22004, 22023, 22001 for a `user_id` that is NULL, empty, or longer than 255 characters.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::type_complexity,
    reason = "the columns of the SQL function are the contract"
)]
pub fn list_sessions(
    user_id: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(session_id, pgrx::Uuid),
            name!(created_at, TimestampWithTimeZone),
            name!(refreshed_at, Option<TimestampWithTimeZone>),
            name!(ip, Option<pgrx::Inet>),
            name!(user_agent, Option<String>),
            name!(tag, Option<String>),
            name!(client_id, Option<String>),
            name!(aal, Option<String>),
            name!(expires_at, Option<TimestampWithTimeZone>),
            name!(session_expires_at, Option<TimestampWithTimeZone>),
            name!(rotations, i64),
        ),
    >,
    ErrorReport,
> {
    let user_id = argument::user_id(user_id)?;
    Ok(TableIterator::new(rows(user_id)?))
}

/// The live sessions of the user whom the claims of the access token name; see `auth.my_sessions`.
///
/// Takes nothing; returns the rows of `auth.list_sessions`, and none without such claims.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::type_complexity,
    reason = "the columns of the SQL function are the contract"
)]
pub fn list_my_sessions() -> Result<
    TableIterator<
        'static,
        (
            name!(session_id, pgrx::Uuid),
            name!(created_at, TimestampWithTimeZone),
            name!(refreshed_at, Option<TimestampWithTimeZone>),
            name!(ip, Option<pgrx::Inet>),
            name!(user_agent, Option<String>),
            name!(tag, Option<String>),
            name!(client_id, Option<String>),
            name!(aal, Option<String>),
            name!(expires_at, Option<TimestampWithTimeZone>),
            name!(session_expires_at, Option<TimestampWithTimeZone>),
            name!(rotations, i64),
        ),
    >,
    ErrorReport,
> {
    let rows = postgrest::claims().user_id().map(rows).transpose()?;
    Ok(TableIterator::new(rows.unwrap_or_default()))
}

type Row = (
    pgrx::Uuid,
    TimestampWithTimeZone,
    Option<TimestampWithTimeZone>,
    Option<pgrx::Inet>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    i64,
);

/// The live sessions of `user_id`, as rows.
fn rows(user_id: &str) -> Result<Vec<Row>, Error> {
    let (policy, devices) =
        store::read(|store| Ok((store.lenient_policy()?, store.user_sessions(user_id)?)))?;
    let now = store::now();
    let live = |device: &Device| device.session.expiry(&policy, now).is_none();
    let live = devices.into_iter().filter(live);
    live.map(|device| row(device, &policy)).collect()
}

fn row(device: Device, policy: &Policy) -> Result<Row, Error> {
    let session = device.session;
    let id = session.id.ok_or(Error::UnexpectedNull)?;
    Ok((
        pgrx::Uuid::from_bytes(id.into_bytes()),
        time(session.created_at).ok_or(Error::UnexpectedNull)?,
        session.refreshed_at.and_then(time),
        device.ip,
        device.user_agent,
        device.tag,
        session.client_id.clone(),
        device.aal,
        session.expires_at(policy).and_then(time),
        session.session_expires_at(policy).and_then(time),
        device.rotations,
    ))
}

use crate::api::argument;
use crate::api::event::record_batch;
use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Ends one batch of sessions, in the order of their ids, of any users: what `auth.revoke_all_sessions` calls.
///
/// Takes the session after which to begin (NULL: with the first one) and how many to end at the most. Returns the last
/// one that was ended, from which to go on, and how many were; 0 and NULL: there are no more. Sessions that have ended
/// already are passed over. One event `sessions_revoked` tells of the batch.
///
/// # Errors
/// 22004 for a NULL and 22023 for a number below 1 as `batch_size`; else as `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_session_batch(
    after: Option<pgrx::Uuid>,
    batch_size: default!(Option<i32>, 1000),
) -> Result<
    TableIterator<
        'static,
        (
            name!(last_session, Option<pgrx::Uuid>),
            name!(sessions, i64),
        ),
    >,
    ErrorReport,
> {
    let (after, rows) = (argument::uuid(after), argument::batch_size(batch_size)?);
    let ended = store::write(|store| {
        let locked = store.lock_next_sessions(after, rows)?;
        store.end_sessions(&locked, store::now())?;
        record_batch(store, locked.len(), "sessions")?;
        Ok(locked)
    })?;
    let last = ended
        .last()
        .map(|id| pgrx::Uuid::from_bytes(id.into_bytes()));
    Ok(TableIterator::once((last, ended.len() as i64)))
}

/// Revokes one batch of the live tokens that have no session, in the order of their ids: what `auth.revoke_all_sessions`
/// begins with.
///
/// Takes the token's id after which to begin (NULL: with the first one) and how many to revoke at the most. Returns the
/// last one that was revoked, from which to go on, and how many were; 0 and NULL: there are no more.
///
/// # Errors
/// As `auth.revoke_session_batch`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_orphan_batch(
    after: Option<i64>,
    batch_size: default!(Option<i32>, 1000),
) -> Result<TableIterator<'static, (name!(last_token, Option<i64>), name!(tokens, i64))>, ErrorReport>
{
    let rows = argument::batch_size(batch_size)?;
    let revoked = store::write(|store| {
        let locked = store.lock_next_orphans(after.unwrap_or(i64::MIN), rows)?;
        store.revoke_orphan_tokens(&locked, store::now())?;
        record_batch(store, locked.len(), "tokens without a session")?;
        Ok(locked)
    })?;
    Ok(TableIterator::once((
        revoked.last().copied(),
        revoked.len() as i64,
    )))
}

use crate::api::argument;
use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Deletes one batch of what is over for longer than it is kept as evidence: tokens that were revoked,
/// and sessions that ended or expired (their tokens with them), longer ago than
/// `refresh_tokens.retention`; events older than `refresh_tokens.event_retention`. 0 is for ever.
///
/// Takes the number of rows to delete at the most, of all tables together.
///
/// Returns how many it deleted. Fewer than `batch_size`: there is nothing left that is due, but for
/// what other transactions hold; those are not waited for. The live token and its parent stay as long
/// as their session goes on, however old they are. A token that is gone is `not_found`, not reuse.
///
/// Commit soon, and call again: `CALL auth.purge_all()` does. Within a connection a call goes on where
/// the one before it stopped, and looks at the whole once before it answers with less than a batch.
///
/// # Errors
/// 22004 for a NULL and 22023 for a number below 1; 25006 in a read-only transaction; 40001 under
/// REPEATABLE READ and SERIALIZABLE where such rows were changed since the transaction's snapshot.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn purge_refresh_tokens(batch_size: default!(Option<i32>, 1000)) -> Result<i64, ErrorReport> {
    Ok(store::purge_due(argument::batch_size(batch_size)?)?)
}

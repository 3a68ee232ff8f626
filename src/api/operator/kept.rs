use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What keeps sessions that are due from being purged: a row for each foreign key of the application's to `auth.sessions`
/// that refers to one and says nothing of ON DELETE, with the number of sessions that it refers to.
///
/// Takes nothing. Right after a purge these are all that are left. Reads the sessions that are due and, as its owner, each
/// referring table. Works on a standby.
#[pg_extern(security_definer, volatile)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::type_complexity,
    reason = "the columns of the SQL function are the contract"
)]
pub fn read_unpurgeable_sessions() -> Result<
    TableIterator<
        'static,
        (
            name!(referring_table, String),
            name!(referring_constraint, String),
            name!(sessions, i64),
        ),
    >,
    ErrorReport,
> {
    let kept = store::kept_sessions()?.into_iter();
    let rows: Vec<_> = kept
        .map(|kept| (kept.table, kept.constraint, kept.sessions))
        .collect();
    Ok(TableIterator::new(rows))
}

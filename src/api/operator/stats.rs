use crate::api::grant_row::time;
use crate::background::counters;
use crate::error::Error;
use crate::store;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What `auth.refresh_token_stats` shows: one row about the tables of this database.
///
/// Takes nothing. Reads both tables as far as their indexes don't tell: for every minute, not for every
/// second. Works on a standby; there the statistics of updates are those of the standby itself.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::type_complexity,
    reason = "the columns of the SQL function are the contract"
)]
pub fn read_refresh_token_stats() -> Result<
    TableIterator<
        'static,
        (
            name!(live_sessions, i64),
            name!(live_tokens, i64),
            name!(purgeable_tokens, i64),
            name!(oldest_purgeable_seconds, f64),
            name!(sessions_table_bytes, i64),
            name!(sessions_index_bytes, i64),
            name!(tokens_table_bytes, i64),
            name!(tokens_index_bytes, i64),
            name!(sessions_dead_rows, i64),
            name!(tokens_dead_rows, i64),
            name!(sessions_hot_update_ratio, Option<f64>),
        ),
    >,
    ErrorReport,
> {
    let stats = store::read(|store| store.stats())?;
    Ok(TableIterator::once((
        stats.live_sessions,
        stats.live_tokens,
        stats.purgeable_tokens,
        stats.oldest_purgeable_seconds,
        stats.sessions_table_bytes,
        stats.sessions_index_bytes,
        stats.tokens_table_bytes,
        stats.tokens_index_bytes,
        stats.sessions_dead_rows,
        stats.tokens_dead_rows,
        stats.sessions_hot_update_ratio,
    )))
}

/// What `auth.refresh_token_answers` shows: how often each status was answered since the server's start,
/// or since the last `auth.reset_refresh_token_stats()`, in all databases; and how often the authentication of a
/// client failed, as `client_authentication_failed`.
///
/// Takes nothing. Returns no row unless the library is in `shared_preload_libraries`.
#[pg_extern(security_definer, volatile)]
#[search_path(pg_catalog, pg_temp)]
#[allow(
    clippy::type_complexity,
    reason = "the columns of the SQL function are the contract"
)]
pub fn read_refresh_token_answers() -> Result<
    TableIterator<
        'static,
        (
            name!(status, String),
            name!(answers, i64),
            name!(stats_reset, TimestampWithTimeZone),
        ),
    >,
    ErrorReport,
> {
    let Some((counts, since)) = counters::read() else {
        return Ok(TableIterator::new(Vec::new()));
    };
    let since = time(since).ok_or(Error::UnexpectedNull)?;
    let rows: Vec<_> = counts
        .into_iter()
        .map(|(status, count)| (status.to_owned(), count.cast_signed(), since))
        .collect();
    Ok(TableIterator::new(rows))
}

/// Counts the answers of `auth.refresh_token_answers` from 0, in all databases.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn reset_refresh_token_stats() {
    counters::reset();
}

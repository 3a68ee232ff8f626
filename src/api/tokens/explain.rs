use super::token_use::{TokenUse, parse};
use crate::api::grant_row::GrantRow;
use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::verdict::{Grant, Status};

/// The verdict that a rotation would give, without changing or locking a row.
///
/// Takes a token; the client is taken to be the right one. NULL is `malformed`.
///
/// Returns what `auth.rotate_refresh_token` would, but `refresh_token` is always NULL, and where that
/// function would mint a child, `token_id` and the times are the presented token's. Works on a
/// standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn explain_refresh_token(token: Option<&str>) -> Result<GrantRow, ErrorReport> {
    let Some(token) = parse(token) else {
        return Ok(GrantRow(Grant::refused(Status::Malformed)));
    };
    let grant = store::read(|store| TokenUse::new(store, &token).explain())?;
    Ok(GrantRow(grant))
}

use crate::error::Error;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// What a procedure begins with that commits batch after batch: refuses where it could not commit, before it has done
/// anything. PostgreSQL's own error says nothing of what to do.
///
/// Takes the procedure's name. Nobody but a procedure has a use for it.
///
/// # Errors
/// 2D000 inside of a transaction block, a function or a block with EXCEPTION.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn begin_batches(procedure: Option<&str>) -> Result<(), ErrorReport> {
    // SAFETY: both read the state of the backend. The caller's connection to SPI is the procedure's: this function has
    // none.
    let can_commit =
        unsafe { pg_sys::SPI_inside_nonatomic_context() && !pg_sys::IsSubTransaction() };
    match can_commit {
        true => Ok(()),
        false => Err(Error::CanNotCommit(name(procedure)).into()),
    }
}

/// What the error calls the procedure. No caller's words are in it.
fn name(procedure: Option<&str>) -> &'static str {
    match procedure {
        Some("purge_all") => "auth.purge_all",
        Some("revoke_all_sessions") => "auth.revoke_all_sessions",
        _ => "a procedure",
    }
}

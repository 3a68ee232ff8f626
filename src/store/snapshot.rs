//! What is committed by now, where the transaction's own snapshot is older.

use super::plan::Plan;
use crate::error::Error;
use pgrx::datum::DatumWithOid;
use pgrx::{Spi, pg_sys};
use std::ffi::{CString, c_char};

/// Whether the transaction sees one snapshot throughout: under REPEATABLE READ and SERIALIZABLE.
pub(super) fn uses_transaction_snapshot() -> bool {
    // SAFETY: a plain variable of the backend that only its one thread reads and writes.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// How many rows `plan`, a query, would have if the transaction began now. pgrx's SPI offers no way
/// to name a snapshot, so this goes below it; the plan is made for the one use.
pub(super) fn count(plan: &Plan, arguments: &[DatumWithOid<'_>]) -> Result<usize, Error> {
    let sql = CString::new(plan.sql).expect("a statement has no NUL");
    let mut types: Vec<_> = plan.parameters.iter().map(|oid| oid.value()).collect();
    let value = |a: &DatumWithOid<'_>| {
        a.datum()
            .map_or(pg_sys::Datum::null(), |d| d.sans_lifetime())
    };
    let mut values: Vec<_> = arguments.iter().map(value).collect();
    let null = |a: &DatumWithOid<'_>| if a.datum().is_some() { b' ' } else { b'n' } as c_char;
    let nulls: Vec<_> = arguments.iter().map(null).collect();
    // SAFETY: called while connected to SPI; the three arrays have an entry for each parameter, and
    // they and the text outlive the calls; the snapshot is registered while it is in use. An ERROR on
    // the way releases plan and snapshot with the transaction.
    let status = unsafe {
        let prepared = pg_sys::SPI_prepare(sql.as_ptr(), types.len() as i32, types.as_mut_ptr());
        let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
        let status = pg_sys::SPI_execute_snapshot(
            prepared,
            values.as_mut_ptr(),
            nulls.as_ptr(),
            snapshot,
            std::ptr::null_mut(),
            true,
            false,
            0,
        );
        pg_sys::UnregisterSnapshot(snapshot);
        status
    };
    Spi::check_status(status)?;
    // SAFETY: set by the call above, which succeeded.
    Ok(unsafe { pg_sys::SPI_processed } as usize)
}

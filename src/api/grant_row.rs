//! Answers as rows: one of `auth.refresh_token_grant`, and what others are made of.

use crate::error::Error;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{Datum, TimestampWithTimeZone};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{IntoDatum, PgLogLevel, PgTupleDesc, pg_sys};
use refresh_tokens_core::label::Label;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::{Grant, Status};
use std::ffi::CString;
use uuid::Uuid;

/// A grant as a row of `auth.refresh_token_grant`.
pub struct GrantRow(pub(super) Grant);

pgrx::impl_sql_translatable!(GrantRow, "auth.refresh_token_grant");

/// The attributes of `auth.refresh_token_grant`.
const ATTRIBUTES: usize = 10;

// SAFETY: the function is declared to return `auth.refresh_token_grant`, and a row of that very type
// is what is returned.
unsafe impl BoxRet for GrantRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above; the row lives in the memory context that the function was called in.
        unsafe {
            let row = form_row(&self.0, fcinfo.as_mut_ptr());
            fcinfo.return_raw_datum(row)
        }
    }
}

/// # Safety
/// `fcinfo` is the call of a function that returns `auth.refresh_token_grant`.
unsafe fn form_row(grant: &Grant, fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: a call has the function's lookup data, and the catalog's cache is looked into by its key.
    let exists = unsafe {
        let id = pg_sys::Datum::from((*(*fcinfo).flinfo).fn_oid);
        let (cache, null) = (
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            pg_sys::Datum::null(),
        );
        pg_sys::SearchSysCacheExists(cache, id, null, null, null)
    };
    if !exists {
        ErrorReport::from(Error::FunctionDropped).report(PgLogLevel::ERROR);
    }
    let mut descriptor: pg_sys::TupleDesc = std::ptr::null_mut();
    // SAFETY: the descriptor comes from the function's own catalog row, so it is right also after
    // the type was dropped and created anew. The arrays have an entry for each of its attributes.
    unsafe {
        pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut descriptor);
        let attributes = PgTupleDesc::from_pg_unchecked(descriptor);
        assert_eq!(attributes.len(), ATTRIBUTES);
        let status = status_datum(grant.status, attributes.get(0).expect("ten attributes"));
        let values = [Some(status)].into_iter().chain(columns(grant));
        let mut datums = [pg_sys::Datum::null(); ATTRIBUTES];
        let mut nulls = [true; ATTRIBUTES];
        for (at, value) in values.enumerate() {
            nulls[at] = value.is_none();
            datums[at] = value.unwrap_or(pg_sys::Datum::null());
        }
        let tuple = pg_sys::heap_form_tuple(descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
    }
}

/// `at` as a column of a row that pgrx forms; none if it is no time that PostgreSQL has.
pub(super) fn time(at: Timestamp) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(at.0).ok()
}

/// The columns after `status`, in the type's order.
fn columns(grant: &Grant) -> [Option<pg_sys::Datum>; ATTRIBUTES - 1] {
    let time = |at: Option<Timestamp>| at.map(|at| pg_sys::Datum::from(at.0));
    let uuid = |id: Option<Uuid>| pgrx::Uuid::from_bytes(id?.into_bytes()).into_datum();
    [
        grant
            .refresh_token
            .as_ref()
            .and_then(|token| token.as_str().into_datum()),
        grant.user_id.as_deref().and_then(IntoDatum::into_datum),
        uuid(grant.session_id),
        uuid(grant.instance_id),
        grant.token_id.map(pg_sys::Datum::from),
        time(grant.issued_at),
        time(grant.expires_at),
        time(grant.session_expires_at),
        grant.reason.and_then(IntoDatum::into_datum),
    ]
}

/// `status` as a value of the enum that `attribute` is of.
///
/// # Safety
/// `attribute` is of `auth.refresh_token_status`, as this version or an older one has it.
unsafe fn status_datum(status: Status, attribute: &pg_sys::FormData_pg_attribute) -> pg_sys::Datum {
    let label = match status {
        // The name before 0.4.0, till ALTER EXTENSION has renamed it.
        Status::Retried if !has_label(attribute.atttypid, status.label()) => "replayed",
        _ => status.label(),
    };
    let label = CString::new(label).expect("a label has no NUL");
    // SAFETY: as the caller says; the input function reads the label and keeps nothing of it.
    unsafe {
        pg_sys::OidInputFunctionCall(
            pg_sys::F_ENUM_IN.into(),
            label.as_ptr().cast_mut(),
            attribute.atttypid,
            -1,
        )
    }
}

/// Whether the enum `id` has `label`.
fn has_label(id: pg_sys::Oid, label: &str) -> bool {
    let label = CString::new(label).expect("a label has no NUL");
    // SAFETY: looks into the catalog's cache by the two columns of its key; the label ends in NUL, and a
    // name is compared as far as that.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32;
        let (id, label) = (pg_sys::Datum::from(id), pg_sys::Datum::from(label.as_ptr()));
        let null = pg_sys::Datum::null();
        pg_sys::SearchSysCacheExists(cache, id, label, null, null)
    }
}

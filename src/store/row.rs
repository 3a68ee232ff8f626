//! Typed columns of the rows that a statement returns.

use crate::error::Error;
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone};
use pgrx::spi::SpiTupleTable;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use refresh_tokens_core::time::Timestamp;
use uuid::Uuid;

/// The column `name` of the current row; none if it is NULL.
pub(super) fn column<T: FromDatum + IntoDatum>(
    row: &SpiTupleTable<'_>,
    name: &str,
) -> Result<Option<T>, Error> {
    Ok(row.get_by_name::<T, _>(name)?)
}

/// A column that the statement never leaves NULL.
pub(super) fn required<T: FromDatum + IntoDatum>(
    row: &SpiTupleTable<'_>,
    name: &str,
) -> Result<T, Error> {
    column(row, name)?.ok_or(Error::UnexpectedNull)
}

/// A `uuid` column.
pub(super) fn uuid(row: &SpiTupleTable<'_>, name: &str) -> Result<Option<Uuid>, Error> {
    Ok(column::<pgrx::Uuid>(row, name)?.map(|id| Uuid::from_bytes(*id.as_bytes())))
}

/// A column of type `uuid[]`; none if it is NULL.
pub(super) fn uuid_array(row: &SpiTupleTable<'_>, name: &str) -> Result<Vec<Uuid>, Error> {
    let ids = column::<Vec<Option<pgrx::Uuid>>>(row, name)?.unwrap_or_default();
    let ids = ids.into_iter().flatten();
    Ok(ids.map(|id| Uuid::from_bytes(*id.as_bytes())).collect())
}

/// A `timestamptz` column.
pub(super) fn timestamp(row: &SpiTupleTable<'_>, name: &str) -> Result<Option<Timestamp>, Error> {
    Ok(column::<TimestampWithTimeZone>(row, name)?.map(|at| Timestamp(at.into())))
}

/// What `read` makes of each row of `table`.
pub(super) fn rows<'c, T>(
    mut table: SpiTupleTable<'c>,
    read: impl Fn(&SpiTupleTable<'c>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut rows = Vec::with_capacity(table.len());
    while table.next().is_some() {
        rows.push(read(&table)?);
    }
    Ok(rows)
}

/// What `read` makes of the first row of `table`; none if there is no row.
pub(super) fn first<'c, T>(
    table: SpiTupleTable<'c>,
    read: impl FnOnce(&SpiTupleTable<'c>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match table.is_empty() {
        true => Ok(None),
        false => read(&table.first()).map(Some),
    }
}

/// `id` as a parameter.
pub(super) fn uuid_argument<'a>(id: Uuid) -> DatumWithOid<'a> {
    pgrx::Uuid::from_bytes(id.into_bytes()).into()
}

/// `id` as a parameter; NULL if there is none.
pub(super) fn optional_uuid_argument<'a>(id: Option<Uuid>) -> DatumWithOid<'a> {
    id.map_or_else(|| DatumWithOid::null_oid(pg_sys::UUIDOID), uuid_argument)
}

/// `ids` as a parameter of type `uuid[]`.
pub(super) fn uuids_argument<'a>(ids: &[Uuid]) -> DatumWithOid<'a> {
    let ids: Vec<_> = ids
        .iter()
        .map(|id| pgrx::Uuid::from_bytes(id.into_bytes()))
        .collect();
    ids.into()
}

/// `at` as a parameter.
pub(super) fn timestamp_argument<'a>(at: Timestamp) -> DatumWithOid<'a> {
    // SAFETY: a timestamptz is a 64-bit integer passed by value, and its type is the one named.
    unsafe { DatumWithOid::new(at.0, pg_sys::TIMESTAMPTZOID) }
}

/// `at` as a parameter; NULL if there is none.
pub(super) fn optional_timestamp_argument<'a>(at: Option<Timestamp>) -> DatumWithOid<'a> {
    at.map_or_else(
        || DatumWithOid::null_oid(pg_sys::TIMESTAMPTZOID),
        timestamp_argument,
    )
}

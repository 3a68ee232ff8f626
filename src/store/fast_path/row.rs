//! Rows of a table, outside of any statement.

use super::columns::ColumnNumber;
use pgrx::{FromDatum, IntoDatum, pg_sys};
use refresh_tokens_core::time::Timestamp;
use uuid::Uuid;

/// A version of a row: a copy of it, which knows where the row is stored.
pub(super) struct HeapTuple(pub(super) pg_sys::HeapTuple);

/// The columns of a row, each of the type that its table was found to give it ([`super::columns`]). The values
/// lie in a version's memory, or were set here.
#[derive(Clone)]
pub(super) struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    /// A row of NULLs.
    pub(super) fn of(columns: usize) -> Self {
        Self {
            values: vec![pg_sys::Datum::null(); columns],
            nulls: vec![true; columns],
        }
    }

    pub(super) fn arrays(&mut self) -> (*mut pg_sys::Datum, *mut bool) {
        (self.values.as_mut_ptr(), self.nulls.as_mut_ptr())
    }

    /// Sets the columns that `is_cleared` names, by their place from 0, to NULL.
    pub(super) fn clear(&mut self, is_cleared: impl Fn(usize) -> bool) {
        for (at, null) in self.nulls.iter_mut().enumerate() {
            *null |= is_cleared(at);
        }
    }

    /// # Safety
    /// The arrays have an entry for each column.
    pub(super) unsafe fn copy_to(&self, values: *mut pg_sys::Datum, nulls: *mut bool) {
        // SAFETY: as the caller says.
        unsafe {
            values.copy_from_nonoverlapping(self.values.as_ptr(), self.values.len());
            nulls.copy_from_nonoverlapping(self.nulls.as_ptr(), self.nulls.len());
        }
    }

    /// The value of `column`; none if it is NULL.
    pub(super) fn datum(&self, column: ColumnNumber) -> Option<pg_sys::Datum> {
        let at = place(column);
        (!self.nulls[at]).then_some(self.values[at])
    }

    /// # Safety
    /// The column's type is `T`.
    unsafe fn get<T: FromDatum>(&self, column: ColumnNumber) -> Option<T> {
        // SAFETY: as the caller says.
        unsafe { T::from_datum(self.datum(column)?, false) }
    }

    pub(super) fn boolean(&self, column: ColumnNumber) -> Option<bool> {
        // SAFETY: only asked of columns of this type.
        unsafe { self.get(column) }
    }

    pub(super) fn bigint(&self, column: ColumnNumber) -> Option<i64> {
        // SAFETY: only asked of columns of this type.
        unsafe { self.get(column) }
    }

    pub(super) fn text(&self, column: ColumnNumber) -> Option<String> {
        // SAFETY: only asked of columns of this type, or of varchar, which is stored alike.
        unsafe { self.get(column) }
    }

    pub(super) fn timestamp(&self, column: ColumnNumber) -> Option<Timestamp> {
        // SAFETY: only asked of columns of timestamptz, which is stored like a bigint.
        unsafe { self.get(column) }.map(Timestamp)
    }

    pub(super) fn uuid(&self, column: ColumnNumber) -> Option<Uuid> {
        // SAFETY: only asked of columns of this type.
        let id = unsafe { self.get::<pgrx::Uuid>(column) };
        id.map(|id| Uuid::from_bytes(*id.as_bytes()))
    }

    /// Sets `column` to `value`, which is of its type.
    pub(super) fn set(&mut self, column: ColumnNumber, value: impl IntoDatum) {
        self.put(column, value.into_datum());
    }

    /// Sets `column` to what `row` has in `from`.
    pub(super) fn copy(&mut self, column: ColumnNumber, row: &Self, from: ColumnNumber) {
        self.put(column, row.datum(from));
    }

    fn put(&mut self, column: ColumnNumber, value: Option<pg_sys::Datum>) {
        let at = place(column);
        self.nulls[at] = value.is_none();
        self.values[at] = value.unwrap_or(pg_sys::Datum::null());
    }
}

/// The place of `column` in the arrays. Columns of the system have none; neither indexes nor we ask for one.
fn place(column: ColumnNumber) -> usize {
    usize::try_from(column - 1).expect("a column of the table")
}

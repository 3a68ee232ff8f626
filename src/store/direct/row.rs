//! Rows of a table, outside of any statement.

use pgrx::{FromDatum, pg_sys};

/// A version of a row: a copy of it, which knows where the row is stored.
pub(super) struct Version(pub(super) pg_sys::HeapTuple);

impl Version {
    /// Whether this transaction has written it.
    pub(super) fn is_own(&self) -> bool {
        // SAFETY: it is a copy that lives as long as the call.
        unsafe {
            let writer = pg_sys::HeapTupleHeaderGetXmin((*self.0).t_data);
            pg_sys::TransactionIdIsCurrentTransactionId(writer)
        }
    }
}

/// The columns of a row, counted from 1.
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

    /// The value of `column`, and whether it is NULL.
    pub(super) fn datum(&self, column: pg_sys::AttrNumber) -> (pg_sys::Datum, bool) {
        let at = place(column);
        (self.values[at], self.nulls[at])
    }

    /// The value of `column`; none if it is NULL.
    ///
    /// # Safety
    /// The column is of the type `T`.
    pub(super) unsafe fn get<T: FromDatum>(&self, column: pg_sys::AttrNumber) -> Option<T> {
        let (value, is_null) = self.datum(column);
        // SAFETY: as the caller says.
        unsafe { T::from_datum(value, is_null) }
    }

    /// Sets `column` to `value`, which is of its type; none is NULL.
    pub(super) fn set(&mut self, column: pg_sys::AttrNumber, value: Option<pg_sys::Datum>) {
        let at = place(column);
        self.nulls[at] = value.is_none();
        self.values[at] = value.unwrap_or(pg_sys::Datum::null());
    }

    /// Sets `column` to what `of` has in `from`.
    pub(super) fn copy(&mut self, column: pg_sys::AttrNumber, of: &Self, from: pg_sys::AttrNumber) {
        let (value, is_null) = of.datum(from);
        self.set(column, (!is_null).then_some(value));
    }
}

/// The place of `column` in the arrays. Columns of the system have none; neither indexes nor we ask for one.
fn place(column: pg_sys::AttrNumber) -> usize {
    usize::try_from(column - 1).expect("a column of the table")
}

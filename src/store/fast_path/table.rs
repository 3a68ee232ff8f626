//! A table, read and written by the calls that the executor makes.

use super::row::{HeapTuple, Row};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::mem::{MaybeUninit, zeroed};
use std::thread::panicking;

/// As an UPDATE locks a table.
const MODE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// An open table of the schema `auth`. Its lock stays till the transaction ends.
pub(super) struct Table(pub(super) pg_sys::Relation);

impl Table {
    /// The table `name`, locked to be written; none if there is none by now.
    ///
    /// As for a statement, the name is looked up again if another table got it while the lock was waited for:
    /// RangeVarGetRelidExtended (catalog/namespace.c; compared with 15, 17 and 18).
    pub(super) fn open(name: &CStr) -> Option<Self> {
        // SAFETY: the names end with NUL and are not written to.
        let relation = unsafe {
            let (schema, name) = (c"auth".as_ptr().cast_mut(), name.as_ptr().cast_mut());
            pg_sys::table_openrv_extended(pg_sys::makeRangeVar(schema, name, -1), MODE, true)
        };
        (!relation.is_null()).then(|| Self(relation))
    }

    pub(super) fn id(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.0).rd_id }
    }

    pub(super) fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.0).rd_att }
    }

    /// How many columns the table has, dropped ones included.
    pub(super) fn width(&self) -> usize {
        // SAFETY: the relation is open.
        unsafe { (*self.descriptor()).natts as usize }
    }

    /// The columns of `version`. A dropped one is NULL: what it held is not to be written again.
    pub(super) fn columns(&self, version: &HeapTuple) -> Row {
        let mut row = Row::of(self.width());
        let (values, nulls) = row.arrays();
        // SAFETY: the relation is open, the version is one of its rows, and the arrays have an entry for
        // each column.
        unsafe { pg_sys::heap_deform_tuple(version.0, self.descriptor(), values, nulls) }
        row.clear(|at| self.attribute(at).attisdropped);
        row
    }

    /// The column `at`, counted from 0.
    ///
    /// Mirrors TupleDescAttr (access/tupdesc.h; compared with 15, 17 and 18).
    pub(super) fn attribute(&self, at: usize) -> &pg_sys::FormData_pg_attribute {
        assert!(at < self.width());
        // SAFETY: the relation is open and has so many columns.
        #[cfg(not(feature = "pg18"))]
        unsafe {
            &*(*self.descriptor()).attrs.as_ptr().add(at)
        }
        // SAFETY: as above.
        #[cfg(feature = "pg18")]
        unsafe {
            &*pg_sys::TupleDescAttr(self.descriptor(), at as i32)
        }
    }

    /// Locks `version` against all but foreign keys, and waits for whoever holds it. Whether it is still
    /// the row's newest.
    ///
    /// Mirrors ExecLockRows (executor/nodeLockRows.c; compared with 15, 17 and 18), by way of heapam_tuple_lock.
    pub(super) fn lock_row(&self, version: &HeapTuple) -> bool {
        // SAFETY: the relation is open and the version visible to the active snapshot, so that its
        // place is still its own.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData {
                t_self: (*version.0).t_self,
                ..zeroed()
            };
            let mut buffer = pg_sys::InvalidBuffer as pg_sys::Buffer;
            let mut failure = MaybeUninit::zeroed();
            let result = pg_sys::heap_lock_tuple(
                self.0,
                &mut tuple,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                pg_sys::LockWaitPolicy::LockWaitBlock,
                true,
                &mut buffer,
                failure.as_mut_ptr(),
            );
            pg_sys::ReleaseBuffer(buffer);
            result == pg_sys::TM_Result::TM_Ok
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: it was opened here, and is closed once.
            unsafe { pg_sys::table_close(self.0, pg_sys::NoLock as pg_sys::LOCKMODE) }
        }
    }
}

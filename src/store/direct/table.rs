//! A table, read and written by the calls that the executor makes.

use super::index::Indexes;
use super::row::{Row, Version};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::thread::panicking;

pub(super) const READ: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
pub(super) const WRITE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// An open table of the schema `auth`. Its lock stays till the transaction ends.
pub(super) struct Table(pub(super) pg_sys::Relation);

impl Table {
    /// The table `name`, locked in `mode`; none if there is none.
    pub(super) fn open(name: &CStr, mode: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: the names end with NUL. A relation that is dropped before it is locked is NULL.
        let relation = unsafe {
            let schema = pg_sys::get_namespace_oid(c"auth".as_ptr(), true);
            match pg_sys::get_relname_relid(name.as_ptr(), schema) {
                pg_sys::InvalidOid => ptr::null_mut(),
                id => pg_sys::try_table_open(id, mode),
            }
        };
        (!relation.is_null()).then_some(Self(relation))
    }

    /// Locks the table in `mode` as well.
    pub(super) fn lock(&self, mode: pg_sys::LOCKMODE) {
        // SAFETY: the relation is open.
        unsafe { pg_sys::LockRelationOid(self.id(), mode) }
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

    /// The columns of `version`.
    pub(super) fn columns(&self, version: &Version) -> Row {
        let mut row = Row::of(self.width());
        let (values, nulls) = row.arrays();
        // SAFETY: the relation is open, the version is one of its rows, and the arrays have an entry for
        // each column.
        unsafe { pg_sys::heap_deform_tuple(version.0, self.descriptor(), values, nulls) }
        row
    }

    fn form(&self, row: &mut Row) -> pg_sys::HeapTuple {
        let (values, nulls) = row.arrays();
        // SAFETY: the relation is open, and the row has a value of its type for each column.
        unsafe { pg_sys::heap_form_tuple(self.descriptor(), values, nulls) }
    }

    /// Locks `version` against all but foreign keys, and waits for whoever holds it. Whether it is still
    /// the row's newest.
    pub(super) fn lock_row(&self, version: &Version) -> bool {
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

    /// Refuses updates where the table is published and its rows have no identity.
    ///
    /// # Errors
    /// 55000.
    pub(super) fn check_replica_identity(&self) {
        // SAFETY: the relation is open.
        unsafe { pg_sys::CheckCmdReplicaIdentity(self.0, pg_sys::CmdType::CMD_UPDATE) }
    }

    /// Puts `row` in the place of `version`. False: that is not the row's newest version any more; nothing
    /// was changed.
    pub(super) fn update(&self, version: &Version, row: &mut Row, indexes: &Indexes) -> bool {
        let tuple = self.form(row);
        // SAFETY: as for lock_row; the tuple is of this table.
        unsafe {
            if heap_update(self.0, &mut (*version.0).t_self, tuple) != pg_sys::TM_Result::TM_Ok {
                return false;
            }
            let is_hot = (*(*tuple).t_data).t_infomask2 as u32 & pg_sys::HEAP_ONLY_TUPLE != 0;
            if !is_hot {
                indexes.insert(self, row, tuple, true);
            }
        }
        true
    }

    /// Inserts `row`.
    pub(super) fn insert(&self, row: &mut Row, indexes: &Indexes) {
        let tuple = self.form(row);
        // SAFETY: the relation is open and the tuple is of this table.
        unsafe {
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::heap_insert(self.0, tuple, command, 0, ptr::null_mut());
            indexes.insert(self, row, tuple, false);
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

/// # Safety
/// `relation` is open, `place` that of a version which the active snapshot sees, `tuple` of the relation.
unsafe fn heap_update(
    relation: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    tuple: pg_sys::HeapTuple,
) -> pg_sys::TM_Result::Type {
    let mut failure = MaybeUninit::zeroed();
    let mut mode = 0;
    #[cfg(not(feature = "pg15"))]
    let mut indexes_to_update = 0;
    // SAFETY: as the caller says.
    unsafe {
        pg_sys::heap_update(
            relation,
            place,
            tuple,
            pg_sys::GetCurrentCommandId(true),
            ptr::null_mut(),
            true,
            failure.as_mut_ptr(),
            &mut mode,
            #[cfg(not(feature = "pg15"))]
            &mut indexes_to_update,
        )
    }
}

//! A row, found by an index of its table.

use super::columns::ColumnNumber;
use super::row::HeapTuple;
use super::table::Table;
use pgrx::pg_sys;
use std::mem::zeroed;
use std::ptr;
use std::thread::panicking;

/// As a query locks an index.
const MODE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Which row is looked for: the one whose `column` equals `value`.
pub(super) struct Key {
    /// Counted from 1.
    pub(super) column: ColumnNumber,
    /// The function of the column's operator =.
    pub(super) equal: u32,
    pub(super) value: pg_sys::Datum,
}

/// No index of the table finds each row by the column.
pub(super) struct NoIndex;

impl Table {
    /// The row that `key` asks for, as the active snapshot has it.
    ///
    /// Mirrors RelationFindReplTupleByIndex (executor/execReplication.c; compared with 15, 17 and 18), which would lock it.
    pub(super) fn find(&self, key: &Key) -> Result<Option<HeapTuple>, NoIndex> {
        let index = self.unique_index(key.column).ok_or(NoIndex)?;
        // SAFETY: the index is open, of this table, and of the key's column alone. The row is copied while the
        // slot holds it.
        unsafe {
            let mut scan_key: pg_sys::ScanKeyData = zeroed();
            pg_sys::ScanKeyEntryInitialize(
                &mut scan_key,
                0,
                1,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::InvalidOid,
                *(*index.0).rd_indcollation,
                key.equal.into(),
                key.value,
            );
            let scan = pg_sys::index_beginscan(
                self.0,
                index.0,
                pg_sys::GetActiveSnapshot(),
                #[cfg(feature = "pg18")]
                ptr::null_mut(),
                1,
                0,
            );
            pg_sys::index_rescan(scan, &mut scan_key, 1, ptr::null_mut(), 0);
            let slot = pg_sys::table_slot_create(self.0, ptr::null_mut());
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let found = pg_sys::index_getnext_slot(scan, forward, slot)
                .then(|| HeapTuple(pg_sys::ExecCopySlotHeapTuple(slot)));
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::index_endscan(scan);
            Ok(found)
        }
    }

    /// An index that keeps `column` unique, whatever its name.
    fn unique_index(&self, column: ColumnNumber) -> Option<Index> {
        // SAFETY: the relation is open, and the list a copy.
        let list = unsafe { pg_sys::RelationGetIndexList(self.0) };
        // SAFETY: the list is as long as it says.
        let ids = (0..unsafe { pg_sys::list_length(list) })
            .map(|at| unsafe { pg_sys::list_nth_oid(list, at) });
        ids.map(Index::open).find(|index| index.finds_by(column))
    }
}

/// An open index. Its table is locked, so it can't be dropped.
struct Index(pg_sys::Relation);

impl Index {
    fn open(id: pg_sys::Oid) -> Self {
        // SAFETY: an index of a table that is locked, from its list of them.
        Self(unsafe { pg_sys::index_open(id, MODE) })
    }

    /// Whether it finds each row by `column`, as get_relation_info (optimizer/util/plancat.c; compared with 15, 17 and 18)
    /// tells for the planner: a valid B-tree of all rows and that column alone, in which a value stands once.
    fn finds_by(&self, column: ColumnNumber) -> bool {
        // SAFETY: the index is open. An index, and nothing else, has a rd_index.
        unsafe {
            let Some(definition) = (*self.0).rd_index.as_ref() else {
                return false;
            };
            definition.indisvalid
                && definition.indisunique
                && definition.indimmediate
                && !definition.indcheckxmin
                && definition.indnkeyatts == 1
                && *definition.indkey.values.as_ptr() == column
                && (*(*self.0).rd_rel).relam == pg_sys::BTREE_AM_OID
                && pg_sys::RelationGetIndexPredicate(self.0).is_null()
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: it was opened here, and is closed once.
            unsafe { pg_sys::index_close(self.0, MODE) }
        }
    }
}

//! The indexes of a table: one to find a row by, all to insert into.

use super::columns::ColumnNumber;
use super::row::{Row, Version};
use super::table::{READ, Table, WRITE};
use pgrx::pg_sys;
use std::ffi::CStr;
use std::mem::zeroed;
use std::thread::panicking;

/// Which row is looked for: the one whose `column` equals `value`.
pub(super) struct Key<'a> {
    /// An index that begins with that column.
    pub(super) index: &'a CStr,
    /// Counted from 1.
    pub(super) column: ColumnNumber,
    /// The function of the index's operator =.
    pub(super) equal: u32,
    pub(super) value: pg_sys::Datum,
}

/// What is looked for can't be found this way: the index is not what it was when it was installed.
pub(super) struct NoIndex;

impl Table {
    /// The row that `key` asks for, as the active snapshot has it.
    pub(super) fn find(&self, key: &Key<'_>) -> Result<Option<Version>, NoIndex> {
        let index = Index::of(self, key).ok_or(NoIndex)?;
        // SAFETY: the index is open, of this table, and begins with the key's column. The row is copied while
        // the scan holds it.
        unsafe {
            let mut scan_key: pg_sys::ScanKeyData = zeroed();
            pg_sys::ScanKeyEntryInitialize(
                &mut scan_key,
                0,
                key.column,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::InvalidOid,
                *(*index.0).rd_indcollation,
                key.equal.into(),
                key.value,
            );
            let snapshot = pg_sys::GetActiveSnapshot();
            let scan =
                pg_sys::systable_beginscan_ordered(self.0, index.0, snapshot, 1, &mut scan_key);
            let found =
                pg_sys::systable_getnext_ordered(scan, pg_sys::ScanDirection::ForwardScanDirection);
            let found = (!found.is_null()).then(|| Version(pg_sys::heap_copytuple(found)));
            pg_sys::systable_endscan_ordered(scan);
            Ok(found)
        }
    }
}

/// An open index and the mode that it is locked in, as long as it is open.
struct Index(pg_sys::Relation, pg_sys::LOCKMODE);

impl Index {
    fn open(id: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: a relation that is dropped before it is locked is NULL.
        let relation = unsafe { pg_sys::try_relation_open(id, mode) };
        (!relation.is_null()).then_some(Self(relation, mode))
    }

    /// The index that `key` names, if it finds each row of `table` by the key's column.
    fn of(table: &Table, key: &Key<'_>) -> Option<Self> {
        // SAFETY: the relations are open. An index, and nothing else, has a rd_index.
        unsafe {
            let schema = (*(*table.0).rd_rel).relnamespace;
            let id = pg_sys::get_relname_relid(key.index.as_ptr(), schema);
            if id == pg_sys::InvalidOid {
                return None;
            }
            let index = Self::open(id, READ)?;
            let definition = (*index.0).rd_index.as_ref()?;
            (definition.indrelid == table.id()
                && definition.indisvalid
                && !definition.indcheckxmin
                && *definition.indkey.values.as_ptr() == key.column
                && index.is_plain())
            .then_some(index)
        }
    }

    /// Whether it is a B-tree of columns alone and of all rows.
    fn is_plain(&self) -> bool {
        // SAFETY: the index is open.
        unsafe {
            (*(*self.0).rd_rel).relam == pg_sys::BTREE_AM_OID
                && pg_sys::RelationGetIndexExpressions(self.0).is_null()
                && pg_sys::RelationGetIndexPredicate(self.0).is_null()
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !panicking() {
            // SAFETY: it was opened here, and is closed once.
            unsafe { pg_sys::relation_close(self.0, self.1) }
        }
    }
}

/// All indexes of a table, open to be inserted into.
pub(super) struct Indexes(Vec<Target>);

struct Target {
    index: Index,
    info: *mut pg_sys::IndexInfo,
    /// Whether the updates that it is open for leave its columns as they are.
    is_unchanged: bool,
}

impl Indexes {
    /// The indexes of `table`, for inserts and for updates of the columns `changing`. None: one of them
    /// is not plain, or keeps a changing column unique, which foreign keys might refer to.
    pub(super) fn open(table: &Table, changing: &[ColumnNumber]) -> Option<Self> {
        // SAFETY: the relation is open, and the list a copy.
        let ids: Vec<_> = unsafe {
            let list = pg_sys::RelationGetIndexList(table.0);
            (0..pg_sys::list_length(list))
                .map(|at| pg_sys::list_nth_oid(list, at))
                .collect()
        };
        let targets = ids.into_iter().map(|id| Target::open(id, changing));
        targets.collect::<Option<_>>().map(Self)
    }

    /// # Safety
    /// `tuple` was just stored in `table`, as its version of `row`.
    pub(super) unsafe fn insert(
        &self,
        table: &Table,
        row: &Row,
        tuple: pg_sys::HeapTuple,
        is_update: bool,
    ) {
        for target in &self.0 {
            // SAFETY: as the caller says.
            unsafe { target.insert(table, row, tuple, is_update) }
        }
    }
}

impl Target {
    fn open(id: pg_sys::Oid, changing: &[ColumnNumber]) -> Option<Self> {
        let index = Index::open(id, WRITE)?;
        if !index.is_plain() {
            return None;
        }
        // SAFETY: the index is open.
        let info = unsafe { pg_sys::BuildIndexInfo(index.0) };
        // SAFETY: as above; an index that is no constraint of exclusion has no operators of one.
        let (keys, is_exclusion, is_unique) = unsafe {
            let keys = &(&(*info).ii_IndexAttrNumbers)[..(*info).ii_NumIndexKeyAttrs as usize];
            (keys, !(*info).ii_ExclusionOps.is_null(), (*info).ii_Unique)
        };
        let is_unchanged = !keys.iter().any(|column| changing.contains(column));
        (!is_exclusion && (is_unchanged || !is_unique)).then_some(Self {
            index,
            info,
            is_unchanged,
        })
    }

    /// # Safety
    /// As for [`Indexes::insert`].
    unsafe fn insert(&self, table: &Table, row: &Row, tuple: pg_sys::HeapTuple, is_update: bool) {
        // SAFETY: as the caller says; the arrays are as long as the longest index.
        unsafe {
            let info = &*self.info;
            if !info.ii_ReadyForInserts {
                return;
            }
            let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
            let mut nulls = [true; pg_sys::INDEX_MAX_KEYS as usize];
            let columns = &info.ii_IndexAttrNumbers[..info.ii_NumIndexAttrs as usize];
            for (at, column) in columns.iter().enumerate() {
                let value = row.datum(*column);
                nulls[at] = value.is_none();
                values[at] = value.unwrap_or(pg_sys::Datum::null());
            }
            let check = match info.ii_Unique {
                true => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES,
                false => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
            };
            pg_sys::index_insert(
                self.index.0,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                &mut (*tuple).t_self,
                table.0,
                check,
                is_update && self.is_unchanged,
                self.info,
            );
        }
    }
}

//! A table, read and written by the calls that the executor makes.

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

/// Which row is looked for: the one whose `column` equals `value`.
pub(super) struct Key<'a> {
    /// The unique index of that column alone.
    pub(super) index: &'a CStr,
    /// Counted from 1.
    pub(super) column: pg_sys::AttrNumber,
    /// The function of the index's operator =.
    pub(super) equal: u32,
    pub(super) value: pg_sys::Datum,
}

/// What is looked for can't be found this way: the index is not what it was when it was installed.
pub(super) struct NoIndex;

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

    fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.0).rd_att }
    }

    /// The row that `key` asks for, as the active snapshot has it.
    pub(super) fn find(&self, key: &Key<'_>) -> Result<Option<Version>, NoIndex> {
        let index = Index::of(self, key).ok_or(NoIndex)?;
        // SAFETY: the index is open, of this table, and of the key's column alone. The row is copied while
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

    /// The columns of `version`.
    pub(super) fn columns(&self, version: &Version) -> Row {
        let descriptor = self.descriptor();
        // SAFETY: the relation is open, the version is one of its rows, and the arrays have an entry for
        // each column.
        unsafe {
            let mut row = Row::of((*descriptor).natts as usize);
            let (values, nulls) = row.arrays();
            pg_sys::heap_deform_tuple(version.0, descriptor, values, nulls);
            row
        }
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

/// An open index and the mode that it is locked in, as long as it is open.
struct Index(pg_sys::Relation, pg_sys::LOCKMODE);

impl Index {
    fn open(id: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: a relation that is dropped before it is locked is NULL.
        let relation = unsafe { pg_sys::try_relation_open(id, mode) };
        (!relation.is_null()).then_some(Self(relation, mode))
    }

    /// The index that `key` names, if it finds each row of `table` by the key's column alone.
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
                && definition.indisunique
                && definition.indisvalid
                && !definition.indcheckxmin
                && definition.indnkeyatts == 1
                && *definition.indkey.values.as_ptr() == key.column
                && index.is_plain())
            .then_some(index)
        }
    }

    /// Whether it is of columns alone and of all rows, and refuses doubles at once.
    fn is_plain(&self) -> bool {
        // SAFETY: the index is open.
        unsafe {
            (*(*self.0).rd_rel).relam == pg_sys::BTREE_AM_OID.into()
                && (*(*self.0).rd_index).indimmediate
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
    pub(super) fn open(table: &Table, changing: &[pg_sys::AttrNumber]) -> Option<Self> {
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
    unsafe fn insert(&self, table: &Table, row: &Row, tuple: pg_sys::HeapTuple, is_update: bool) {
        for target in &self.0 {
            // SAFETY: as the caller says.
            unsafe { target.insert(table, row, tuple, is_update) }
        }
    }
}

impl Target {
    fn open(id: pg_sys::Oid, changing: &[pg_sys::AttrNumber]) -> Option<Self> {
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
                (values[at], nulls[at]) = row.datum(*column);
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

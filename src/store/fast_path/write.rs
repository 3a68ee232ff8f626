//! Rows written as logical replication's apply worker writes them: PostgreSQL itself checks constraints, fills
//! indexes and fires the triggers of foreign keys.

use super::columns::ColumnNumber;
use super::row::{HeapTuple, Row};
use super::table::Table;
use pgrx::pg_sys;
use std::mem::{MaybeUninit, size_of};
use std::ptr;

/// What several writes of one call have in common, as those of one statement do.
pub(super) struct Query(*mut pg_sys::EState);

/// A table that is written, and its indexes, which are open.
pub(super) struct TableWriter<'q> {
    query: &'q Query,
    relation: *mut pg_sys::ResultRelInfo,
}

impl Query {
    /// Begins a query. Mirrors create_edata_for_relation (replication/logical/worker.c; compared with 15, 17 and 18).
    /// Its snapshot is for the functions of index expressions and checks.
    pub(super) fn begin() -> Self {
        // SAFETY: what is not popped and freed after an ERROR is at the transaction's end.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let state = pg_sys::CreateExecutorState();
            (*state).es_snapshot = pg_sys::GetActiveSnapshot();
            (*state).es_output_cid = pg_sys::GetCurrentCommandId(true);
            pg_sys::AfterTriggerBeginQuery();
            Self(state)
        }
    }

    /// Opens `table` and its indexes for writes of which the updates set the columns `changing`. Mirrors
    /// create_edata_for_relation and apply_handle_insert_internal (replication/logical/worker.c; compared with 15, 17 and 18).
    pub(super) fn writer(&self, table: &Table, changing: &[ColumnNumber]) -> TableWriter<'_> {
        // SAFETY: the relation is open and stays so for longer than the query; 0 is no place in a range table,
        // which the query lacks.
        let relation = unsafe {
            let relation =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            pg_sys::InitResultRelInfo(relation, table.0, 0, ptr::null_mut(), 0);
            // So that the triggers of foreign keys find it, and do not open the table once more.
            (*self.0).es_opened_result_relations =
                pg_sys::lappend((*self.0).es_opened_result_relations, relation.cast());
            pg_sys::ExecOpenIndices(relation, false);
            relation
        };
        let target = TableWriter {
            query: self,
            relation,
        };
        target.mark_unchanged(changing);
        target
    }

    /// Fires the triggers of foreign keys that are due, and ends the query. Mirrors finish_edata
    /// (replication/logical/worker.c; compared with 15, 17 and 18).
    pub(super) fn end(self) {
        // SAFETY: begun once, ended once; its targets are closed by then.
        unsafe {
            pg_sys::AfterTriggerEndQuery(self.0);
            pg_sys::ExecResetTupleTable((*self.0).es_tupleTable, false);
            pg_sys::FreeExecutorState(self.0);
            pg_sys::PopActiveSnapshot();
        }
    }

    /// `row` of `table` as the executor takes it.
    fn slot(&self, table: pg_sys::Relation, row: &Row) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: the slot lives as long as the query and has a place for each of the table's columns, as has the row.
        unsafe {
            let slots = &raw mut (*self.0).es_tupleTable;
            let slot = pg_sys::ExecAllocTableSlot(
                slots,
                (*table).rd_att,
                &raw const pg_sys::TTSOpsVirtual,
            );
            row.copy_to((*slot).tts_values, (*slot).tts_isnull);
            pg_sys::ExecStoreVirtualTuple(slot)
        }
    }
}

impl TableWriter<'_> {
    /// Tells which indexes an update leaves as they are, which B-trees take for a hint. Without a range table,
    /// index_unchanged_by_update (executor/execIndexing.c; compared with 15, 17 and 18) would think it of all.
    fn mark_unchanged(&self, changing: &[ColumnNumber]) {
        // SAFETY: there are as many indexes as the relation says, and as many columns as each of them says.
        unsafe {
            for at in 0..(*self.relation).ri_NumIndices as usize {
                let index = &mut **(*self.relation).ri_IndexRelationInfo.add(at);
                let keys = &index.ii_IndexAttrNumbers[..index.ii_NumIndexKeyAttrs as usize];
                index.ii_CheckedUnchanged = true;
                index.ii_IndexUnchanged = index.ii_Expressions.is_null()
                    && !keys.iter().any(|column| changing.contains(column));
            }
        }
    }

    /// Takes the foreign key `constraint` for checked: the row that it refers to is locked. Its triggers are
    /// switched off in the query's copy of them.
    pub(super) fn skip_foreign_key(&self, constraint: pg_sys::Oid) {
        // SAFETY: the copy is the query's own, and has as many triggers as it says.
        unsafe {
            let Some(triggers) = (*self.relation).ri_TrigDesc.as_ref() else {
                return;
            };
            for at in 0..triggers.numtriggers as usize {
                let trigger = &mut *triggers.triggers.add(at);
                let is_check = [pg_sys::F_RI_FKEY_CHECK_INS, pg_sys::F_RI_FKEY_CHECK_UPD]
                    .contains(&trigger.tgfoid.to_u32());
                if is_check && trigger.tgconstraint == constraint {
                    trigger.tgenabled = pg_sys::TRIGGER_DISABLED as std::ffi::c_char;
                }
            }
        }
    }

    /// Inserts `row`.
    pub(super) fn insert(&self, row: &Row) {
        // SAFETY: the relation and its indexes are open, and the row is of it.
        unsafe {
            let slot = self.query.slot((*self.relation).ri_RelationDesc, row);
            pg_sys::ExecSimpleRelationInsert(self.relation, self.query.0, slot);
        }
    }

    /// Puts `row` in the place of `version`. False: that is not the row's newest version any more; nothing
    /// was changed.
    ///
    /// Mirrors ExecSimpleRelationUpdate (executor/execReplication.c; compared with 15, 17 and 18), which raises
    /// an internal error in that case. Triggers before a row, generated columns and partitions are none of the tables'
    /// that come here ([`super::eligibility`]).
    ///
    /// # Errors
    /// 55000 where the table is published and its rows have no identity; those of constraints.
    pub(super) fn update(&self, version: &HeapTuple, row: &Row) -> bool {
        let (relation, state) = (self.relation, self.query.0);
        // SAFETY: the relation and its indexes are open, version and row are of it.
        unsafe {
            let table = (*relation).ri_RelationDesc;
            let slot = self.query.slot(table, row);
            pg_sys::CheckCmdReplicaIdentity(table, pg_sys::CmdType::CMD_UPDATE);
            if !(*(*table).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(relation, slot, state);
            }
            let place = &raw mut (*version.0).t_self;
            let Some(indexes) = table_tuple_update(table, place, slot, state) else {
                return false;
            };
            let recheck = insert_index_tuples(relation, slot, state, indexes);
            let null = ptr::null_mut();
            pg_sys::ExecARUpdateTriggers(
                state,
                relation,
                null,
                null,
                place,
                ptr::null_mut(),
                slot,
                recheck,
                ptr::null_mut(),
                false,
            );
        }
        true
    }

    /// Closes the indexes.
    pub(super) fn close(self) {
        // SAFETY: opened once, closed once.
        unsafe { pg_sys::ExecCloseIndices(self.relation) }
    }
}

/// Which indexes an update has to insert into.
#[cfg(feature = "pg15")]
type IndexesToUpdate = bool;
/// Which indexes an update has to insert into.
#[cfg(not(feature = "pg15"))]
type IndexesToUpdate = pg_sys::TU_UpdateIndexes::Type;

/// Mirrors simple_table_tuple_update (access/table/tableam.c; compared with 15, 17 and 18), without its errors: none where
/// the version at `place` is not the row's newest.
///
/// # Safety
/// `place` is of a version of `table` that a snapshot sees, `slot` holds a row of it.
unsafe fn table_tuple_update(
    table: pg_sys::Relation,
    place: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
) -> Option<IndexesToUpdate> {
    let mut failure = MaybeUninit::zeroed();
    let mut mode = 0;
    let mut indexes = IndexesToUpdate::default();
    // SAFETY: as the caller says.
    let result = unsafe {
        pg_sys::table_tuple_update(
            table,
            place,
            slot,
            (*state).es_output_cid,
            (*state).es_snapshot,
            ptr::null_mut(),
            true,
            failure.as_mut_ptr(),
            &mut mode,
            &mut indexes,
        )
    };
    (result == pg_sys::TM_Result::TM_Ok).then_some(indexes)
}

/// Inserts into the indexes that an update has to.
///
/// # Safety
/// `slot` holds what was just stored in `relation`, whose indexes are open.
unsafe fn insert_index_tuples(
    relation: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
    indexes: IndexesToUpdate,
) -> *mut pg_sys::List {
    #[cfg(feature = "pg15")]
    let is_none = !indexes;
    #[cfg(not(feature = "pg15"))]
    let is_none = indexes == pg_sys::TU_UpdateIndexes::TU_None;
    // SAFETY: as the caller says.
    unsafe {
        if is_none || (*relation).ri_NumIndices == 0 {
            return ptr::null_mut();
        }
        pg_sys::ExecInsertIndexTuples(
            relation,
            slot,
            state,
            true,
            false,
            ptr::null_mut(),
            ptr::null_mut(),
            #[cfg(not(feature = "pg15"))]
            {
                indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing
            },
        )
    }
}

//! Whether the executor would do nothing more for a table than [`super::table`] does.

use super::columns::{Column, ColumnNumber};
use super::table::Table;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// Whether statements see nothing but what they do to the tables: no module of the server wants to know
/// of, or to refuse, what is done to a table by whom.
pub(super) fn is_unwatched() -> bool {
    // SAFETY: a plain variable, set when a module is loaded.
    unsafe { (&raw const pg_sys::ExecutorCheckPerms_hook).read() }.is_none()
}

impl Table {
    /// Whether `columns` are its first.
    pub(super) fn begins_with(&self, columns: &[Column]) -> bool {
        // SAFETY: the relation is open, and there are as many attributes as its descriptor says.
        self.width() >= columns.len()
            && columns
                .iter()
                .enumerate()
                .all(|(at, column)| unsafe { column.is(&*attribute(self.descriptor(), at)) })
    }

    /// Whether its rows are all that a query of its owner, who is the current user, would look at.
    pub(super) fn is_read_plainly(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe {
            let class = &*(*self.0).rd_rel;
            class.relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char
                && class.relam == pg_sys::HEAP_TABLE_AM_OID
                && class.relowner == pg_sys::GetUserId()
                && !class.relforcerowsecurity
                && !class.relhasrules
                && !class.relhassubclass
                && self.is_granted(pg_sys::ACL_SELECT)
        }
    }

    /// Whether inserts and updates check and do nothing more than its indexes and foreign keys ask for.
    pub(super) fn is_written_plainly(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe {
            let relation = &*self.0;
            !(*relation.rd_rel).relispartition
                && self
                    .constraints()
                    .is_none_or(|defined| defined.num_check == 0 && !defined.has_generated_stored)
                && has_foreign_key_triggers_only(relation)
                && self.is_granted(pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE)
        }
    }

    /// What is defined on its columns: defaults, checks, computed ones; none if there is nothing.
    fn constraints(&self) -> Option<&pg_sys::TupleConstr> {
        // SAFETY: the relation is open.
        unsafe { (*self.descriptor()).constr.as_ref() }
    }

    /// Whether its owner has not taken `privileges` from himself.
    fn is_granted(&self, privileges: u32) -> bool {
        let privileges = pg_sys::AclMode::from(privileges);
        let all = pg_sys::AclMaskHow::ACLMASK_ALL;
        // SAFETY: looks into the catalog.
        unsafe {
            let user = pg_sys::GetUserId();
            pg_sys::pg_class_aclmask(self.id(), user, privileges, all) == privileges
        }
    }

    /// Whether its one foreign key, if it has one, is of `column` and refers to `referred` of `table`.
    pub(super) fn refers_only(
        &self,
        column: ColumnNumber,
        table: &Self,
        referred: ColumnNumber,
    ) -> bool {
        // SAFETY: the relation is open; the list is of its cached foreign keys.
        unsafe {
            let keys = pg_sys::RelationGetFKeyList(self.0);
            (0..pg_sys::list_length(keys)).all(|at| {
                let key = &*pg_sys::list_nth(keys, at).cast::<pg_sys::ForeignKeyCacheInfo>();
                key.nkeys == 1
                    && key.conkey[0] == column
                    && key.confrelid == table.id()
                    && key.confkey[0] == referred
            })
        }
    }

    /// The sequence that gives `column` its default; none if that is something else.
    pub(super) fn sequence(&self, column: ColumnNumber) -> Option<pg_sys::Oid> {
        // SAFETY: the relation is open; there are as many defaults as its descriptor says.
        unsafe {
            let defined = self.constraints()?;
            let default = (0..defined.num_defval as usize)
                .map(|at| &*defined.defval.add(at))
                .find(|default| default.adnum == column)?;
            sequence_of(CStr::from_ptr(default.adbin))
        }
    }
}

/// # Safety
/// `descriptor` has an attribute `at`, counted from 0.
unsafe fn attribute(
    descriptor: pg_sys::TupleDesc,
    at: usize,
) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: as the caller says.
    #[cfg(not(feature = "pg18"))]
    unsafe {
        (*descriptor).attrs.as_ptr().add(at)
    }
    // SAFETY: as the caller says.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::TupleDescAttr(descriptor, at as i32)
    }
}

/// A constraint that is checked later than at once has a trigger as well.
///
/// # Safety
/// `relation` is open.
unsafe fn has_foreign_key_triggers_only(relation: &pg_sys::RelationData) -> bool {
    // SAFETY: as the caller says; there are as many triggers as the descriptor says.
    unsafe {
        relation.trigdesc.as_ref().is_none_or(|triggers| {
            (0..triggers.numtriggers as usize).all(|at| {
                let trigger = &*triggers.triggers.add(at);
                let function = u32::from(trigger.tgfoid);
                trigger.tgisinternal
                    && (pg_sys::F_RI_FKEY_CHECK_INS..=pg_sys::F_RI_FKEY_NOACTION_UPD)
                        .contains(&function)
            })
        })
    }
}

/// The sequence of which `expression` is the next value. What is not one is read anew each time.
fn sequence_of(expression: &CStr) -> Option<pg_sys::Oid> {
    thread_local! {
        static LAST: RefCell<(CString, pg_sys::Oid)> = RefCell::new((CString::default(), pg_sys::InvalidOid));
    }
    let read =
        LAST.with_borrow(|(text, sequence)| (text.as_c_str() == expression).then_some(*sequence));
    if read.is_some() {
        return read;
    }
    let sequence = read_nextval(expression)?;
    LAST.set((expression.to_owned(), sequence));
    Some(sequence)
}

/// `expression` if it is nextval of a constant.
fn read_nextval(expression: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: an expression of the catalog can be read, and each node says of which kind it is.
    unsafe {
        let node = pg_sys::stringToNode(expression.as_ptr()).cast::<pg_sys::FuncExpr>();
        if (*node).xpr.type_ != pg_sys::NodeTag::T_FuncExpr
            || (*node).funcid != pg_sys::F_NEXTVAL.into()
            || pg_sys::list_length((*node).args) != 1
        {
            return None;
        }
        let argument = pg_sys::list_nth((*node).args, 0).cast::<pg_sys::Const>();
        ((*argument).xpr.type_ == pg_sys::NodeTag::T_Const && !(*argument).constisnull)
            .then(|| (*argument).constvalue.value() as u32)
            .map(Into::into)
    }
}

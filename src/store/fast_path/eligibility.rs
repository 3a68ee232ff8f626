//! Which tables the fast path is for: a list of what may be defined on them. What is not in it is for statements.
//!
//! What [`super::write`] leaves to PostgreSQL needs no place here: constraints, indexes, foreign keys, publications.

use super::columns::{Column, ColumnNumber};
use super::table::Table;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// The major versions whose source the calls of this module were compared with: 15.18, 17.11 and 18.6 (docs/fast_path.md). In
/// another one, rotations go by statements.
const COMPARED: [u32; 3] = [15, 17, 18];

/// Whether this is a version that the fast path was compared with.
pub(super) const fn is_compared() -> bool {
    let major = pg_sys::PG_VERSION_NUM / 10_000;
    let mut at = 0;
    while at < COMPARED.len() {
        if COMPARED[at] == major {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether no ExecutorCheckPerms_hook is installed: a module such as pgaudit or sepgsql sees only statements.
pub(super) fn no_audit_hook() -> bool {
    // SAFETY: a plain variable, set when a module is loaded.
    unsafe { (&raw const pg_sys::ExecutorCheckPerms_hook).read() }.is_none()
}

impl Table {
    /// Whether its first columns are `columns`, and nothing computes one.
    pub(super) fn begins_with(&self, columns: &[Column]) -> bool {
        self.width() >= columns.len()
            && (0..self.width()).all(|at| self.attribute(at).attgenerated == 0)
            && (columns.iter().enumerate()).all(|(at, column)| column.is(self.attribute(at)))
    }

    /// Whether it is an ordinary table of the current user's, all of whose rows a query of his looks at, and a
    /// write to it fires no triggers but those of foreign keys.
    pub(super) fn is_eligible(&self) -> bool {
        // SAFETY: the relation is open.
        unsafe {
            let class = &*(*self.0).rd_rel;
            class.relkind == pg_sys::RELKIND_RELATION as c_char
                && class.relam == pg_sys::HEAP_TABLE_AM_OID
                && class.relowner == pg_sys::GetUserId()
                && !class.relforcerowsecurity
                && !class.relhasrules
                && !class.relhassubclass
                && !class.relispartition
                && self.has_foreign_key_triggers_only()
                && self.is_granted(pg_sys::ACL_SELECT | pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE)
        }
    }

    fn has_foreign_key_triggers_only(&self) -> bool {
        const ALLOWED: std::ops::RangeInclusive<u32> =
            pg_sys::F_RI_FKEY_CHECK_INS..=pg_sys::F_RI_FKEY_NOACTION_UPD;
        // SAFETY: the relation is open; there are as many triggers as the descriptor says.
        unsafe {
            (*self.0).trigdesc.as_ref().is_none_or(|triggers| {
                (0..triggers.numtriggers as usize).all(|at| {
                    let trigger = &*triggers.triggers.add(at);
                    trigger.tgisinternal && ALLOWED.contains(&trigger.tgfoid.to_u32())
                })
            })
        }
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

    /// Its foreign key by which `column` refers to `referred` of `table`; none if it has none.
    pub(super) fn foreign_key(
        &self,
        column: ColumnNumber,
        table: &Self,
        referred: ColumnNumber,
    ) -> Option<pg_sys::Oid> {
        // SAFETY: the relation is open; the list is of its cached foreign keys.
        unsafe {
            let keys = pg_sys::RelationGetFKeyList(self.0);
            (0..pg_sys::list_length(keys))
                .map(|at| &*pg_sys::list_nth(keys, at).cast::<pg_sys::ForeignKeyCacheInfo>())
                .find(|key| {
                    key.nkeys == 1
                        && key.conkey[0] == column
                        && key.confrelid == table.id()
                        && key.confkey[0] == referred
                })
                .map(|key| key.conoid)
        }
    }

    /// The sequence that gives `column` its default; none if that is something else.
    pub(super) fn sequence(&self, column: ColumnNumber) -> Option<pg_sys::Oid> {
        // SAFETY: the relation is open; there are as many defaults as its descriptor says.
        unsafe {
            let defined = (*self.descriptor()).constr.as_ref()?;
            let default = (0..defined.num_defval as usize)
                .map(|at| &*defined.defval.add(at))
                .find(|default| default.adnum == column)?;
            sequence_of(CStr::from_ptr(default.adbin))
        }
    }
}

/// The sequence of which `expression` is the next value. Other expressions are not cached.
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

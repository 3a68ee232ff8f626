//! Whose the tables are: the owner of a table can have a trigger run with the rights of whoever writes to it. The
//! functions run as their owner, so they touch no table that belongs to anybody else.

use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

const SCHEMA: &CStr = c"auth";

/// The relations of the schema `auth` that a statement names, and the sequences that give ids to what it inserts.
/// Names that follow `::` are types. A word of a comment that names no relation does no harm.
pub(super) fn relations(sql: &str) -> Vec<CString> {
    let mut names: Vec<String> = Vec::new();
    for (at, found) in sql.match_indices("auth.") {
        let before = &sql[..at];
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let name = sql[at + found.len()..].split(|c| !is_word(c)).next();
        let name = name.unwrap_or_default().to_owned();
        if name.is_empty() || before.ends_with("::") || before.ends_with(is_word) {
            continue;
        }
        if before.ends_with("INSERT INTO ") {
            names.push(format!("{name}_id_seq"));
        }
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    let names = names.into_iter().map(CString::new);
    names.map(|name| name.expect("a word has no NUL")).collect()
}

/// Refuses relations of the schema `auth` that don't belong to the current user, who is the owner of the function
/// that runs. Each one is locked as for reading before it is looked at, so that it keeps its owner till the
/// transaction ends. One that is not there is left for the statement to miss.
///
/// # Errors
/// 55000.
pub(super) fn check(relations: &[CString]) -> Result<(), Error> {
    // SAFETY: reads a variable of the backend.
    let user = unsafe { pg_sys::GetUserId() };
    relations.iter().try_for_each(|name| match owner(name) {
        Some(owner) if owner != user => Err(Error::OtherOwner(name.to_string_lossy().into_owned())),
        _ => Ok(()),
    })
}

/// The owner of the relation `name`, which is locked; none if there is no such relation.
fn owner(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: both names end with NUL and outlive the calls, which don't write to them. As PostgreSQL's parser
    // does (RangeVarGetRelidExtended), the name is looked up again after a wait for the lock. The row of the
    // catalog is read before it is released.
    unsafe {
        let range = pg_sys::makeRangeVar(SCHEMA.as_ptr().cast_mut(), name.as_ptr().cast_mut(), -1);
        let relation = pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        );
        let key = pg_sys::Datum::from(relation);
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, key);
        if row.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::relations;

    fn names(sql: &str) -> Vec<String> {
        let names = relations(sql).into_iter().map(|name| name.into_string());
        names.map(|name| name.expect("ASCII")).collect()
    }

    #[test]
    fn a_statement_names_its_relations() {
        assert_eq!(
            names(include_str!("tokens/read.sql")),
            ["refresh_tokens", "sessions"]
        );
        assert_eq!(names(include_str!("sessions/session.sql")), ["sessions"]);
        assert_eq!(
            names(include_str!("operator/stats.sql")),
            ["refresh_tokens", "sessions"]
        );
        assert_eq!(names(include_str!("oauth/find_hook.sql")), [""; 0]);
    }

    #[test]
    fn what_inserts_names_the_sequence_and_what_casts_names_no_type() {
        assert_eq!(
            names(
                "INSERT INTO auth.refresh_tokens (token) SELECT $1::auth.aal_level FROM auth.sessions;"
            ),
            ["refresh_tokens", "refresh_tokens_id_seq", "sessions"]
        );
        assert_eq!(names("SELECT oauth.sessions, my_auth.x"), [""; 0]);
    }
}

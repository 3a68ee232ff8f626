//! Code of another role's: run as that role, and restricted.

use pgrx::pg_sys;
use std::thread::panicking;

/// As long as it lives, the current user is another one, who can become nobody else, leave nothing to be done at the commit,
/// and change no setting of the caller's: as PostgreSQL restricts maintenance by a superuser (vacuum_rel).
pub(super) struct ActingAs {
    user: pg_sys::Oid,
    context: i32,
    settings: i32,
}

impl ActingAs {
    /// Acts as `user`; `more` are flags of the security context beside those of the restriction.
    pub(super) fn switch(user: pg_sys::Oid, more: u32) -> Self {
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION | more;
        let mut before = Self {
            user: pg_sys::InvalidOid,
            context: 0,
            settings: 0,
        };
        // SAFETY: all three are saved, and put back by `drop` or, where an ERROR ends the transaction or
        // a subtransaction, by PostgreSQL.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
            pg_sys::SetUserIdAndSecContext(user, before.context | restricted as i32);
            before.settings = pg_sys::NewGUCNestLevel();
        }
        before
    }
}

impl Drop for ActingAs {
    fn drop(&mut self) {
        if panicking() {
            return;
        }
        // SAFETY: puts back what was there.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.settings);
            pg_sys::SetUserIdAndSecContext(self.user, self.context);
        }
    }
}

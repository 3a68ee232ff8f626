//! A setting of the server's that holds for a statement of ours.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// As long as it lives, a setting has another value.
pub(super) struct ScopedSetting {
    /// The level of settings to go back from.
    level: c_int,
}

impl ScopedSetting {
    pub(super) fn new(name: &CStr, value: &CStr) -> Self {
        // SAFETY: the names and values end in NUL. The setting is saved at the new level, from which `drop` takes it
        // back as at the end of a function with a SET clause (fmgr_security_definer); after an ERROR the end of the
        // transaction or subtransaction does.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self { level }
        }
    }
}

impl Drop for ScopedSetting {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the level that `new` has opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) };
        }
    }
}

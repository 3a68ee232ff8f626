//! Statements whose parameters hold a secret, beside modules that log parameters.

use pgrx::pg_sys;
use std::ffi::{CStr, c_int};

/// pgaudit's setting. Where pgaudit is not loaded, there is none.
const LOG_PARAMETER: &CStr = c"pgaudit.log_parameter";

/// As long as it lives, pgaudit logs no parameters, whatever its setting was before.
pub(super) struct Unlogged {
    /// The level of settings to go back from; none: nothing was set.
    level: Option<c_int>,
}

impl Unlogged {
    pub(super) fn new() -> Self {
        // SAFETY: the names and values end in NUL. The setting is saved at the new level, from which `drop` takes it
        // back as at the end of a function with a SET clause (fmgr_security_definer); after an ERROR the end of the
        // transaction or subtransaction does.
        unsafe {
            let value = pg_sys::GetConfigOption(LOG_PARAMETER.as_ptr(), true, false);
            if value.is_null() || CStr::from_ptr(value) == c"off" {
                return Self { level: None };
            }
            let level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                LOG_PARAMETER.as_ptr(),
                c"off".as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self { level: Some(level) }
        }
    }
}

impl Drop for Unlogged {
    fn drop(&mut self) {
        if let Some(level) = self.level.filter(|_| !std::thread::panicking()) {
            // SAFETY: the level that `new` has opened.
            unsafe { pg_sys::AtEOXact_GUC(true, level) };
        }
    }
}

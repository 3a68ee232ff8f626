//! Statements whose parameters hold a secret, beside modules that log parameters.

use super::scoped_setting::ScopedSetting;
use pgrx::pg_sys;
use std::ffi::CStr;

/// pgaudit's setting. Where pgaudit is not loaded, there is none.
const LOG_PARAMETER: &CStr = c"pgaudit.log_parameter";

/// As long as it lives, pgaudit logs no parameters, whatever its setting was before.
pub(super) struct Unlogged {
    /// None: nothing had to be set.
    _setting: Option<ScopedSetting>,
}

impl Unlogged {
    pub(super) fn new() -> Self {
        // SAFETY: the name ends in NUL, and the value is looked at before it can change.
        let logs = unsafe {
            let value = pg_sys::GetConfigOption(LOG_PARAMETER.as_ptr(), true, false);
            !value.is_null() && CStr::from_ptr(value) != c"off"
        };
        Self {
            _setting: logs.then(|| ScopedSetting::new(LOG_PARAMETER, c"off")),
        }
    }
}

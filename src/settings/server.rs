//! What the server has set for roles without a setting of their own.

use pgrx::pg_sys;
use refresh_tokens_core::sessions::Limit;
use std::ffi::{CStr, CString};
use std::ptr;

const DAY: i32 = 86_400;

/// Where ALTER SYSTEM writes, in the data directory.
const AUTO_FILE: &CStr = c"postgresql.auto.conf";

/// What `limit` is where nobody sets it, in seconds.
pub(super) const fn default(limit: Limit) -> i32 {
    match limit {
        Limit::ReuseInterval => 10,
        Limit::IdleTimeout => 15 * DAY,
        Limit::SessionLifetime | Limit::Retention => 30 * DAY,
        Limit::EventRetention => 90 * DAY,
    }
}

/// The seconds that `value` stands for, as PostgreSQL reads it (`15 d`, say); none if it would refuse it.
pub fn to_seconds(value: &str) -> Option<i32> {
    let value = CString::new(value).ok()?;
    let mut seconds = 0;
    // SAFETY: the text ends in NUL and is only read; the number is written. Nobody asks for the hint.
    let is_read = unsafe {
        let unit = pg_sys::GUC_UNIT_S as i32;
        pg_sys::parse_int(value.as_ptr(), &raw mut seconds, unit, ptr::null_mut())
    };
    (is_read && seconds >= 0).then_some(seconds)
}

/// What the server's files set `limit` to, in seconds; its default where they don't. The setting in force can't tell where
/// the role of this connection has one of its own.
pub fn of_server(limit: Limit) -> i32 {
    let label: &str = limit.into();
    let name = format!("refresh_tokens.{label}");
    // SAFETY: a plain variable of the backend, set when the server started, and texts that end in NUL.
    let set = unsafe {
        let main = last_in(pg_sys::ConfigFileName, &name);
        last_in(AUTO_FILE.as_ptr(), &name).or(main)
    };
    set.unwrap_or_else(|| default(limit))
}

/// The last good value of `name` in a file of settings, in seconds.
///
/// # Safety
/// `file` must end in NUL.
unsafe fn last_in(file: *const std::ffi::c_char, name: &str) -> Option<i32> {
    let (mut first, mut last) = (ptr::null_mut(), ptr::null_mut());
    let (no_caller, level) = (ptr::null(), pg_sys::DEBUG1 as i32);
    // SAFETY: reads the file into a list in the memory of the call. What is wrong with it is a message, below those that
    // anybody sees, and not an ERROR. Each entry's texts end in NUL.
    unsafe {
        pg_sys::ParseConfigFile(
            file,
            false,
            no_caller,
            0,
            0,
            level,
            &raw mut first,
            &raw mut last,
        );
        let mut found = None;
        let mut entry: *mut pg_sys::ConfigVariable = first;
        while let Some(variable) = entry.as_ref() {
            entry = variable.next;
            if variable.name.is_null() || variable.value.is_null() || variable.ignore {
                continue;
            }
            if CStr::from_ptr(variable.name)
                .to_string_lossy()
                .eq_ignore_ascii_case(name)
            {
                let value = CStr::from_ptr(variable.value).to_string_lossy();
                found = to_seconds(&value).or(found);
            }
        }
        pg_sys::FreeConfigVariables(first);
        found
    }
}

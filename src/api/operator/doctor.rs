use crate::settings::{self, Fault};
use pgrx::prelude::*;

/// What is wrong with `value` as the value of the setting `name`, for `auth.check_refresh_tokens()`: `unknown` (there is
/// no such setting), `invalid` (it has no such value), `file` (only postgresql.conf can set it).
///
/// Takes a setting as it is stored for a role or a database, where PostgreSQL looked at neither name nor value if the
/// library was not loaded. Returns NULL if it is in force, and for a NULL. Changes nothing.
#[pg_extern(stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn check_refresh_token_setting(
    name: Option<&str>,
    value: Option<&str>,
) -> Option<&'static str> {
    let fault = settings::fault(name?, value?)?;
    Some(match fault {
        Fault::Unknown => "unknown",
        Fault::Invalid => "invalid",
        Fault::FileOnly => "file",
    })
}

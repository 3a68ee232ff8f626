//! Refresh tokens inside PostgreSQL: issued, rotated, checked for reuse and revoked in the
//! transaction of the caller.
//!
//! The rules are in the crate `refresh_tokens_core`: what a token is, and what is to be done with one. This crate puts
//! them into PostgreSQL. One rotation's data flows one way: `api` takes the arguments, `tokens` reads the string, `store`
//! locks the family and reads it, `verdict` decides, `store` writes, `api` answers (docs/design.md#the-way-of-a-rotation).
//! An OAuth endpoint is wrapped around that: `oauth` reads the request that `postgrest` passes on, and makes what is given
//! beside the refresh token.

mod api;
mod background;
mod error;
mod log;
mod postgrest;
mod random;
mod settings;
mod store;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

// The install script: guard and types, then the functions of `api` with each room's SQL file, then roles, then what closes
// everything to everybody.
extension_sql_file!("../sql/schema.sql", bootstrap);
extension_sql_file!("../sql/roles.sql");
extension_sql_file!("../sql/closing.sql", finalize);

/// Called by PostgreSQL when it loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::without_backtraces();
    settings::register();
    // SAFETY: a plain variable of the process.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        background::counters::register();
        background::purge::register();
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;

//! Refresh tokens inside PostgreSQL: issued, rotated, checked for reuse and revoked in the
//! transaction of the caller.
//!
//! One rotation's data flows one way: `api` takes the arguments, `token` reads the string, `store`
//! locks the family and reads it, `verdict` decides, `store` writes, `api` answers. An OAuth endpoint is
//! wrapped around that: `oauth` reads the request that `gateway` hands on, `access_token` and `signing`
//! make what is given beside the refresh token.

// ---- pure: what a token is, and what is to be done with one -------------------------------------
mod access_token;
mod claims;
mod derivation;
mod digest;
mod event;
mod family;
mod grant;
mod headers;
mod introspection;
mod oauth;
mod policy;
mod recent;
mod retention;
mod scope;
mod secret;
mod session;
mod signing;
mod time;
mod token;
mod verdict;

// ---- PostgreSQL: settings, tables, errors, functions --------------------------------------------
mod api;
mod background;
mod counters;
mod error;
mod gateway;
mod settings;
mod store;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

// The install script: schema, then the functions of `api`, then comments and roles, then privileges.
extension_sql_file!("../sql/schema.sql", bootstrap);
extension_sql_file!(
    "../sql/comments.sql",
    requires = [
        issue_refresh_token,
        rotate_refresh_token,
        explain_refresh_token,
        revoke_refresh_token,
        revoke_token_family,
        revoke_session,
        revoke_user_sessions,
        is_session_live,
        draw_token_family,
        introspect_refresh_token,
        list_sessions,
        list_my_sessions,
        revoke_my_session,
        revoke_my_other_sessions,
        purge_refresh_tokens,
        read_refresh_token_stats,
        read_refresh_token_answers,
        reset_refresh_token_stats,
    ]
);
extension_sql_file!("../sql/events.sql");
extension_sql_file!("../sql/sessions.sql", requires = [list_my_sessions]);
extension_sql_file!(
    "../sql/upkeep.sql",
    requires = [
        purge_refresh_tokens,
        read_refresh_token_stats,
        read_refresh_token_answers,
    ]
);
extension_sql_file!(
    "../sql/postgrest.sql",
    requires = [
        jwks,
        rotate_signing_key,
        sign_in_response,
        is_my_session_live,
    ]
);
extension_sql_file!("../sql/roles.sql");
extension_sql_file!("../sql/privileges.sql", finalize);

/// Called by PostgreSQL when it loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::without_backtraces();
    settings::register();
    // SAFETY: a plain variable of the process.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        counters::register();
        background::purge::register();
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
#[path = "../pg_test/mod.rs"]
pub mod pg_test;

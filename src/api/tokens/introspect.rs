use super::token_use::{TokenUse, parse};
use crate::store;
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::introspection;

/// What a token is good for, without using it (RFC 7662, section 2.2).
///
/// Takes a token; NULL is none. Returns `{"active": false}` and nothing more for whatever is not a live
/// token. For a live one: `active`, `token_type` (`refresh_token`), and as far as they are known `sub` (the
/// user), `client_id`, `scope`, `iat` and `exp` (when it was issued and when it dies if it is not used, in
/// seconds since 1970) and `session_id`.
///
/// Works on a standby and in a read-only transaction.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn introspect_refresh_token(token: Option<&str>) -> Result<JsonB, ErrorReport> {
    let Some(token) = parse(token) else {
        return Ok(JsonB(introspection::inactive()));
    };
    Ok(JsonB(store::read(|store| {
        TokenUse::new(store, &token).introspect(|_| true)
    })?))
}

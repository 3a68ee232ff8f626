use super::token_use::parse;
use crate::api::event::record_revocation;
use crate::store;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::tokens::Token;
use std::borrow::Cow;

/// Ends the family of a token (RFC 7009, section 2.1: the grant is revoked with the token).
///
/// Takes the token as the client holds it, live or not. Returns how many tokens were live till then:
/// 1, or 0 if the family had ended already or the token is NULL, malformed or unknown (RFC 7009,
/// section 2.2: that is no error).
///
/// # Errors
/// 25006 in a read-only transaction; 40001 as for `auth.rotate_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_refresh_token(token: Option<&str>) -> Result<i64, ErrorReport> {
    let Some(token) = parse(token) else {
        return Ok(0);
    };
    Ok(store::write(|store| {
        let revoked = store.revoke_family(token.digest().as_str())?;
        record_revocation(store, &revoked)
    })?)
}

/// Ends the family that descends from `parent`.
///
/// Takes a token, or whatever value the table's columns `token` and `parent` show. Returns how many
/// tokens were live till then; 0 for NULL and for what is not in the table.
///
/// # Errors
/// As `auth.revoke_refresh_token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_token_family(parent: Option<&str>) -> Result<i64, ErrorReport> {
    let Some(parent) = parent else {
        return Ok(0);
    };
    let parent = stored_value(parent);
    Ok(store::write(|store| {
        let revoked = store.revoke_family(&parent)?;
        record_revocation(store, &revoked)
    })?)
}

/// The value that the tables show for `value`, which is a token or such a value itself.
fn stored_value(value: &str) -> Cow<'_, str> {
    match Token::parse(value) {
        Some(token) => Cow::Owned(token.digest().as_str().to_owned()),
        None => Cow::Borrowed(value),
    }
}

use super::token_use::{TokenUse, parse_presented};
use crate::api::argument;
use crate::api::grant_row::GrantRow;
use crate::store::{self, Caller};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::verdict::{Grant, Status};

/// Rotates a live token: revokes it and mints its child. Answers a retry with the same child; detects reuse.
///
/// Takes the token as the client holds it, the OAuth client that presents it, and the client's user
/// agent and address, which the session records if they are given. `client_id` must be what the
/// session was issued with, NULL included. A NULL token is `malformed`.
///
/// Returns one row of `auth.refresh_token_grant`; its `status` is the verdict (docs/design.md#verdict;
/// RFC 6749, section 6; RFC 9700, section 4.14.2). The transaction must be committed
/// whatever the verdict is: `reuse_detected` has revoked the family.
///
/// # Errors
/// 25006 in a read-only transaction; 40001 where the session was changed since the snapshot of a
/// REPEATABLE READ or SERIALIZABLE transaction; 55P03 and 57014 by the server's time-outs.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rotate_refresh_token(
    token: Option<&str>,
    client_id: default!(Option<&str>, "NULL"),
    user_agent: default!(Option<&str>, "NULL"),
    ip: default!(Option<pgrx::Inet>, "NULL"),
) -> Result<GrantRow, ErrorReport> {
    let Some(token) = parse_presented(token) else {
        return Ok(GrantRow(Grant::refused(Status::Malformed)));
    };
    let caller = Caller {
        user_agent: argument::user_agent(user_agent),
        ip,
    };
    let grant = store::write(|store| TokenUse::new(store, &token).rotate(client_id, &caller))?;
    Ok(GrantRow(grant))
}

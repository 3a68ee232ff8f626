use super::argument;
use super::present::{Presentation, parse_presented};
use crate::grant::{Grant, Status};
use crate::settings;
use crate::store::{self, Caller};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Swaps a live token for its child; answers a retry with the same child; detects reuse.
///
/// Takes the token as the client holds it, the OAuth client that presents it, and the client's user
/// agent and address, which the session records if they are given. `client_id` must be what the
/// session was issued with, NULL included. A NULL token is `malformed`.
///
/// Returns one row of `auth.refresh_token_grant`; its `status` is the verdict (the design's
/// section 5; RFC 6749, section 6; RFC 9700, section 4.14.2). The transaction must be committed
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
) -> Result<Grant, ErrorReport> {
    let Some(token) = parse_presented(token) else {
        return Ok(Grant::refused(Status::Malformed));
    };
    let policy = settings::policy();
    let caller = Caller {
        user_agent: argument::user_agent(user_agent),
        ip,
    };
    Ok(store::write(|store| {
        let presentation = Presentation {
            store,
            token: &token,
            policy: &policy,
        };
        presentation.rotate(client_id, &caller)
    })?)
}

use super::endpoint::respond;
use super::issuer::Issuer;
use crate::api::argument::{self, AalLevel};
use crate::api::event::caller;
use crate::api::tokens::issue;
use crate::store::{self, NewSession};
use crate::{postgrest, settings};
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::answer::Answer;

/// Opens a session for a user who has just logged in, and answers the client: what an application's own
/// login function returns once it has checked the password.
///
/// Takes the user (an application's own key, at most 255 characters); and as `auth.issue_refresh_token` the
/// client, the scopes, the instance, the assurance level, a tag and an absolute end, all of which may be
/// NULL. User agent and address come from the request's headers.
///
/// Returns the body that `auth.token` answers a refresh with (RFC 6749, section 5.1), and sets the headers
/// that go with it.
///
/// # Errors
/// As `auth.issue_refresh_token` and `auth.token`.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn sign_in_response(
    user_id: Option<&str>,
    client_id: default!(Option<&str>, "NULL"),
    scope: default!(Option<&str>, "NULL"),
    instance_id: default!(Option<pgrx::Uuid>, "NULL"),
    aal: default!(Option<AalLevel>, "NULL"),
    tag: default!(Option<&str>, "NULL"),
    not_after: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> Result<JsonB, ErrorReport> {
    let user_id = argument::user_id(user_id)?;
    let headers = postgrest::request_headers();
    let caller = caller(&headers);
    let new = NewSession {
        instance_id: argument::uuid(instance_id),
        client_id: argument::client_id(client_id)?,
        scopes: scope,
        aal: aal.as_ref().map(|AalLevel(label)| label.as_str()),
        tag,
        not_after: argument::not_after(not_after, store::now())?,
        user_agent: caller.user_agent,
        ip: caller.ip,
    };
    let policy = settings::policy();
    let body = store::write(|store| {
        let issuer = Issuer::new(store)?;
        let grant = issue(store, user_id, None, new, &policy)?;
        issuer.response(&grant, client_id, scope)
    })?;
    Ok(respond(Answer::ok(body)))
}

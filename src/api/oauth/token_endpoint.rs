use super::endpoint::{self, Call, EndpointError, serve};
use super::issuer::Issuer;
use crate::api::argument::JsonText;
use crate::api::tokens::{TokenUse, parse_presented};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::answer::Refusal;
use refresh_tokens_core::oauth::request::Request;
use refresh_tokens_core::oauth::scope::narrow;
use serde_json::Value;

/// `auth.token` with named arguments: the token endpoint for a client that refreshes (RFC 6749,
/// section 6), as PostgREST calls it for a form, and for a JSON body with no other keys.
///
/// Takes the parameters of the request; all may be NULL, and those that are not named here are
/// ignored. The client may authenticate in the header `Authorization` as well, with the scheme Basic.
///
/// Returns the body of the answer: `access_token`, `token_type`, `expires_in`, `refresh_token`,
/// `scope`, and when the refresh token and the session end in seconds, `refresh_token_timeout` and
/// `authorization_expires_in`. Or `error` and `error_description` (RFC 6749, section 5.2), with the status
/// in the setting `response.status`: 401 for `invalid_client`, else 400. A refusal is returned, never
/// raised: the revocation that came of it must be committed. A scope that is wider than what was consented to is
/// refused, and recorded as `scope_exceeded`, with a token that would be good; with any other, that is what counts.
///
/// # Errors
/// As `auth.rotate_refresh_token`; 55000 without a signing key; 42883 for a hook that isn't there; 22023
/// for a hook that returns no JSON object, or one that changes `sub`, `session_id`, `jti` or `iat`, or makes `exp`
/// later; what a hook raises. Nothing is changed then.
#[pg_extern(sql = false)]
pub fn token_form(
    grant_type: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
    client_secret: Option<String>,
    client_assertion: Option<String>,
) -> Result<JsonB, ErrorReport> {
    let request = Request {
        grant_type,
        refresh_token: refresh_token.map(Into::into),
        client_id,
        scope,
        client_secret: client_secret.map(Into::into),
        client_assertion: client_assertion.map(Into::into),
        ..Request::default()
    };
    serve(Ok(request), token)
}

/// `auth.token` with one unnamed argument: as [`token_form`], for a JSON body with any keys.
#[pg_extern(sql = false)]
pub fn token_json(body: Option<JsonText>) -> Result<JsonB, ErrorReport> {
    serve(endpoint::body(body), token)
}

fn token(call: &Call<'_>) -> Result<Value, EndpointError> {
    let (token, scope) = call.request.refresh()?;
    let client = call.client()?;
    let client_id = client.id.as_deref();
    let Some(token) = parse_presented(Some(token)) else {
        return Err(Refusal::InvalidGrant.into());
    };
    let issuer = Issuer::new(call.store)?;
    let token_use = TokenUse::new(call.store, &token);
    let caller = call.caller();
    if let Some(scope) = scope
        && token_use.exceeds(client_id, scope, &caller)?
    {
        return Err(Refusal::InvalidScope.into());
    }
    let grant = token_use.rotate(client_id, &caller)?;
    if grant.refresh_token.is_none() {
        return Err(Refusal::InvalidGrant.into());
    }
    let granted = grant
        .session_id
        .map_or(Ok(None), |id| call.store.scopes(id))?;
    let scope = match (scope, granted) {
        (Some(requested), Some(granted)) => Some(narrow(requested, &granted)),
        (_, granted) => granted,
    };
    Ok(issuer.response(&grant, client_id, scope.as_deref())?)
}

use super::endpoint::{self, Call, EndpointError, serve};
use crate::api::argument::JsonText;
use crate::api::event::record_revocation;
use crate::api::sessions::end_session;
use crate::api::tokens::parse;
use crate::store::{self, Store};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::answer::Refusal;
use refresh_tokens_core::oauth::claims::{BoundTo, Claims};
use refresh_tokens_core::oauth::request::Client;
use serde_json::{Value, json};

/// `auth.revoke` with named arguments: the revocation endpoint (RFC 7009), as PostgREST calls it for a
/// form, and for a JSON body with no other keys.
///
/// Takes the parameters of the request; all may be NULL. The hint is not needed: a token shows what it
/// is. The client may authenticate as for `auth.token`.
///
/// Ends the session of a refresh token, or of an access token that one of the signing keys has signed and that is
/// valid (RFC 7009, section 2.1).
///
/// Returns `{}`, also for a token that is unknown or has ended (RFC 7009, section 2.2). Or `error` and
/// `error_description`, as `auth.token` does: `invalid_grant` where the session belongs to another client,
/// `unsupported_token_type` for an access token that names no session.
///
/// # Errors
/// As `auth.revoke_refresh_token`; 42883 for a hook that isn't there; what the hook raises.
#[pg_extern(sql = false)]
pub fn revoke_form(
    token: Option<String>,
    token_type_hint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_assertion: Option<String>,
) -> Result<JsonB, ErrorReport> {
    drop(token_type_hint);
    let request = endpoint::about(token, client_id, client_secret, client_assertion);
    serve(Ok(request), revoke)
}

/// `auth.revoke` with one unnamed argument: as [`revoke_form`], for a JSON body with any keys.
#[pg_extern(sql = false)]
pub fn revoke_json(body: Option<JsonText>) -> Result<JsonB, ErrorReport> {
    serve(endpoint::body(body), revoke)
}

fn revoke(call: &Call<'_>) -> Result<Value, EndpointError> {
    let (text, store) = (call.request.token()?, call.store);
    let client = call.client()?;
    let Some(token) = parse(Some(text)) else {
        return revoke_access_token(store, text, &client);
    };
    let digest = token.digest();
    is_owner(&client, store.client_of(&digest)?)?;
    record_revocation(store, &store.revoke_family(digest.as_str())?)?;
    Ok(json!({}))
}

/// Ends the session of an access token, if it is a good one.
fn revoke_access_token(
    store: &Store<'_>,
    text: &str,
    client: &Client,
) -> Result<Value, EndpointError> {
    if let Some(claims) = store.signing_keys()?.verify(text, store::now()) {
        let BoundTo::Session(id) = Claims::of_token(&claims).bound_to() else {
            return Err(Refusal::UnsupportedTokenType.into());
        };
        if let Some(session) = store.session(id)? {
            is_owner(client, session.client_id)?;
            end_session(store, id)?;
        }
    }
    Ok(json!({}))
}

/// Refuses `client` a session that is bound to another one. One that is bound to no client is ended by
/// whoever holds its token.
fn is_owner(client: &Client, owner: Option<String>) -> Result<(), Refusal> {
    match owner.is_some() && owner != client.id {
        true => Err(Refusal::InvalidGrant),
        false => Ok(()),
    }
}

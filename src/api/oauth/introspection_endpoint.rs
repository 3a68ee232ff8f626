use super::endpoint::{self, Asker, Call, EndpointError, serve};
use crate::api::argument::JsonText;
use crate::api::sessions::is_good;
use crate::api::tokens::{TokenUse, parse};
use crate::error::Error;
use crate::store::{self, Store};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::claims::Claims;
use refresh_tokens_core::oauth::introspection::{active_access_token, inactive};
use serde_json::Value;

/// `auth.introspect` with named arguments: the introspection endpoint (RFC 7662), as PostgREST calls it
/// for a form, and for a JSON body with no other keys.
///
/// Takes the parameters of the request; all may be NULL. Whoever asks must have shown who it is (RFC
/// 7662, section 2.1): a client by a secret that its hook asks for, or a user by an access token with the claim
/// `sub`, which PostgREST has verified and whose session is live. Otherwise somebody who found a token could try
/// it out unseen. Such a client is told about every token, a user about its own.
///
/// Returns what `auth.introspect_refresh_token` does for a refresh token; for an access token that one
/// of the signing keys has signed, `active`, `token_type` and its claims, as long as it is valid
/// and its session is live; else `{"active": false}`. Or `error` and `error_description`, as `auth.token`.
///
/// # Errors
/// 25006 in a read-only transaction; 42883 for a hook that isn't there; what the hook raises.
#[pg_extern(sql = false)]
pub fn introspect_form(
    token: Option<String>,
    token_type_hint: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_assertion: Option<String>,
) -> Result<JsonB, ErrorReport> {
    drop(token_type_hint);
    let request = endpoint::about(token, client_id, client_secret, client_assertion);
    serve(Ok(request), introspect)
}

/// `auth.introspect` with one unnamed argument: as [`introspect_form`], for a JSON body with any keys.
#[pg_extern(sql = false)]
pub fn introspect_json(body: Option<JsonText>) -> Result<JsonB, ErrorReport> {
    serve(endpoint::body(body), introspect)
}

fn introspect(call: &Call<'_>) -> Result<Value, EndpointError> {
    let (text, store) = (call.request.token()?, call.store);
    let client = call.client()?;
    let asker = call.asker(&client)?;
    let Some(token) = parse(Some(text)) else {
        return Ok(access_token(store, text, &asker)?);
    };
    let token_use = TokenUse::new(store, &token);
    Ok(token_use.introspect(|user_id| asker.may_see(user_id))?)
}

fn access_token(store: &Store<'_>, text: &str, asker: &Asker) -> Result<Value, Error> {
    let Some(claims) = store.signing_keys()?.verify(text, store::now()) else {
        return Ok(inactive());
    };
    let read = Claims::of_token(&claims);
    if !asker.may_see(read.user_id()) || !is_good(store, &read)? {
        return Ok(inactive());
    }
    Ok(active_access_token(claims))
}

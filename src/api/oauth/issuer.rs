//! Access tokens: made for a session that has just been opened or refreshed.

use crate::error::Error;
use crate::random::random_uuid;
use crate::settings;
use crate::store::{self, Store};
use refresh_tokens_core::oauth::access_token::{self, AccessTokenSettings, Subject};
use refresh_tokens_core::oauth::answer::token_response;
use refresh_tokens_core::oauth::signing::SigningKey;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::Grant;
use serde_json::{Map, Value};

/// What it takes to make an access token. It is had before anything is changed: where there is no key,
/// no refresh token is used up.
pub(in crate::api) struct Issuer<'a> {
    store: &'a Store<'a>,
    key: SigningKey,
    settings: AccessTokenSettings,
}

impl<'a> Issuer<'a> {
    /// # Errors
    /// 55000: there is no signing key.
    pub(in crate::api) fn new(store: &'a Store<'a>) -> Result<Self, Error> {
        let keys = store.signing_keys()?;
        let key = keys.signing(store::now()).ok_or(Error::NoSigningKey)?;
        Ok(Self {
            store,
            key: key.clone(),
            settings: settings::access_token_settings(),
        })
    }

    /// The answer to `client_id` that was given `grant`, with an access token for `scope`.
    pub(in crate::api) fn response(
        &self,
        grant: &Grant,
        client_id: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Value, Error> {
        let (Some(user_id), Some(session_id)) = (grant.user_id.as_deref(), grant.session_id) else {
            return Err(Error::UnexpectedNull);
        };
        let subject = Subject {
            user_id,
            session_id,
            client_id,
            scope,
            expires_at: grant.expires_at,
        };
        // One time for all that the answer says, and none from before a wait for the session's lock: so no
        // rounding lets the access token outlive the refresh token.
        let now = store::now();
        let (token, expires_in) = self.access_token(&subject, now)?;
        Ok(token_response(grant, &token, expires_in, scope, now))
    }

    /// A signed token, and for how many seconds from `now` on it is good.
    fn access_token(&self, subject: &Subject<'_>, now: Timestamp) -> Result<(String, i64), Error> {
        let claims = access_token::claims(&self.settings, subject, random_uuid()?, now);
        let claims = self.hooked(claims)?;
        let expiry = access_token::expiry_of(&claims);
        let left = expiry.saturating_sub(now.unix_seconds().unwrap_or(expiry));
        Ok((self.key.sign(&claims)?, left.max(0)))
    }

    /// What the application's hook makes of `claims`.
    fn hooked(&self, claims: Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let Some(hook) = settings::access_token_hook() else {
            return Ok(claims);
        };
        let json = Value::from(claims.clone()).to_string();
        let json = self.store.call_access_token_hook(&hook, &json)?;
        Ok(access_token::hooked(&claims, &json.unwrap_or_default())?)
    }
}

//! Access tokens: made for a session that has just been opened or refreshed.

use crate::access_token::{self, AccessPolicy, Subject};
use crate::error::Error;
use crate::grant::Grant;
use crate::oauth;
use crate::secret::random_uuid;
use crate::settings;
use crate::signing::SigningKey;
use crate::store::{self, Store};
use crate::time::Timestamp;
use serde_json::{Map, Value};

/// What it takes to make an access token. It is had before anything is changed: where there is no key,
/// no refresh token is used up.
pub(super) struct Issuer<'a> {
    store: &'a Store<'a>,
    key: SigningKey,
    policy: AccessPolicy,
    now: Timestamp,
}

impl<'a> Issuer<'a> {
    /// # Errors
    /// 55000: there is no signing key.
    pub(super) fn new(store: &'a Store<'a>) -> Result<Self, Error> {
        let now = store::now();
        let keys = store.signing_keys()?;
        Ok(Self {
            store,
            key: keys.signing(now).ok_or(Error::NoSigningKey)?.clone(),
            policy: settings::access_policy(),
            now,
        })
    }

    /// The answer to `client_id` that was given `grant`, with an access token for `scope`.
    pub(super) fn response(
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
            session_expires_at: grant.session_expires_at,
        };
        let (token, expires_in) = self.access_token(&subject)?;
        Ok(oauth::token_response(
            grant, &token, expires_in, scope, self.now,
        ))
    }

    /// A signed token, and for how many seconds it is good.
    fn access_token(&self, subject: &Subject<'_>) -> Result<(String, i64), Error> {
        let claims = access_token::claims(&self.policy, subject, random_uuid()?, self.now);
        let mut claims = self.hooked(claims)?;
        let expiry = access_token::limit_expiry(&mut claims, &self.policy, subject, self.now);
        let now = self.now.unix_seconds().unwrap_or(expiry);
        Ok((self.key.sign(&claims)?, (expiry - now).max(0)))
    }

    /// What the application's hook makes of `claims`.
    fn hooked(&self, claims: Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let Some(hook) = settings::access_token_hook() else {
            return Ok(claims);
        };
        let json = Value::from(claims).to_string();
        let json = self.store.call_access_token_hook(&hook, &json)?;
        serde_json::from_str(&json.unwrap_or_default()).map_err(|_| Error::Claims)
    }
}

//! The messages of an OAuth 2 endpoint: what a request may hold, and how it is answered (RFC 6749,
//! sections 5 and 6; RFC 7009; RFC 7662).

use crate::grant::Grant;
use crate::headers::{Basic, Headers};
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The parameters that an endpoint uses, of those that a client sends. Others are ignored (RFC 6749,
/// section 3.2).
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// What the client offers in exchange; `refresh_token`.
    pub grant_type: Option<String>,
    /// The refresh token to be rotated.
    pub refresh_token: Option<Zeroizing<String>>,
    /// The token to be revoked or looked at.
    pub token: Option<Zeroizing<String>>,
    /// The scope that the access token shall have.
    pub scope: Option<String>,
    /// The client.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Zeroizing<String>>,
    /// An assertion in the place of a secret, which is not supported.
    pub client_assertion: Option<Zeroizing<String>>,
}

impl Request {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// `invalid_request`: it is none, or what should be a string is something else.
    pub fn parse(json: &str) -> Result<Self, Refusal> {
        let is_object = json.trim_start().starts_with('{');
        let request = serde_json::from_str(json).ok().filter(|_| is_object);
        request.ok_or(Refusal::InvalidRequest(
            "The body must be an object of strings, each parameter at most once.",
        ))
    }

    /// The token that a request to rotate presents, and the scope that it asks for.
    ///
    /// # Errors
    /// `invalid_request`, `unsupported_grant_type`, `invalid_scope` (RFC 6749, section 5.2).
    pub fn refresh(&self) -> Result<(&str, Option<&str>), Refusal> {
        if required(&self.grant_type, "grant_type is missing.")? != "refresh_token" {
            return Err(Refusal::UnsupportedGrantType);
        }
        let token = required(&self.refresh_token, "refresh_token is missing.")?;
        let scope = present(&self.scope);
        if scope.is_some_and(|scope| !crate::scope::is_well_formed(scope)) {
            return Err(Refusal::InvalidScope);
        }
        Ok((token, scope))
    }

    /// The token that a request to revoke or introspect is about.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn token(&self) -> Result<&str, Refusal> {
        required(&self.token, "token is missing.")
    }

    /// Who the client says it is, by its header or by its parameters (RFC 6749, section 2.3).
    ///
    /// # Errors
    /// `invalid_request` where it says so in two ways; `invalid_client` where the way is none that is
    /// known here.
    pub fn client(&self, headers: &Headers) -> Result<Client, Refusal> {
        let (id, secret) = (present(&self.client_id), present(&self.client_secret));
        if present(&self.client_assertion).is_some() {
            return Err(Refusal::InvalidClient);
        }
        match headers.basic() {
            Basic::Malformed => Err(Refusal::InvalidClient),
            Basic::Credentials(..) if secret.is_some() => Err(Refusal::InvalidRequest(
                "The client must authenticate in one way only.",
            )),
            Basic::Credentials(basic, _) if id.is_some_and(|id| id != basic) => Err(
                Refusal::InvalidRequest("client_id is not the client that authenticates."),
            ),
            Basic::Credentials(id, secret) => Ok(Client {
                id: Some(id),
                secret: Some(secret),
            }),
            Basic::Absent if secret.is_some() && id.is_none() => {
                Err(Refusal::InvalidRequest("client_id is missing."))
            }
            Basic::Absent => Ok(Client {
                id: id.map(Into::into),
                secret: secret.map(|secret| Zeroizing::new(secret.into())),
            }),
        }
    }
}

/// The value of a parameter that must be there.
fn required<'a>(value: &'a Option<impl AsText>, missing: &'static str) -> Result<&'a str, Refusal> {
    present(value).ok_or(Refusal::InvalidRequest(missing))
}

/// The value of a parameter; one without a value counts as absent (RFC 6749, section 3.2).
fn present(value: &Option<impl AsText>) -> Option<&str> {
    let text = value.as_ref().map(AsText::as_text);
    text.filter(|text| !text.is_empty())
}

/// A parameter's value: a secret one is wiped when it is dropped.
trait AsText {
    fn as_text(&self) -> &str;
}

impl AsText for String {
    fn as_text(&self) -> &str {
        self
    }
}

impl AsText for Zeroizing<String> {
    fn as_text(&self) -> &str {
        self
    }
}

/// The client of a request.
pub struct Client {
    /// Its name, if it says one.
    pub id: Option<String>,
    /// Its secret, if it sends one.
    pub secret: Option<Zeroizing<String>>,
}

/// Why a request is refused (RFC 6749, section 5.2; RFC 7009, section 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A parameter is missing, or is not what it should be.
    InvalidRequest(&'static str),
    /// The client could not be authenticated.
    InvalidClient,
    /// The refresh token is not to be used. One answer for all reasons: a thief learns nothing.
    InvalidGrant,
    /// The grant type is not `refresh_token`.
    UnsupportedGrantType,
    /// The scope is malformed, or exceeds what was granted.
    InvalidScope,
    /// An access token that names no session, and ends by itself alone.
    UnsupportedTokenType,
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::InvalidRequest(what) => what,
            Self::InvalidClient => "The client could not be authenticated.",
            Self::InvalidGrant => {
                "The refresh token is invalid, expired or revoked, or was issued to another client."
            }
            Self::UnsupportedGrantType => "The grant type is not supported: use refresh_token.",
            Self::InvalidScope => "The scope is malformed, or exceeds what was granted.",
            Self::UnsupportedTokenType => {
                "An access token can't be revoked by itself, and this one names no session to end."
            }
        }
    }
}

/// An answer: an HTTP status and a JSON object.
#[derive(Debug)]
pub struct Answer {
    /// The status; none: 200.
    pub status: Option<u16>,
    /// The challenge of a 401 (RFC 6749, section 5.2; RFC 7617).
    pub challenge: Option<&'static str>,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// 200 with `body`.
    pub fn ok(body: Value) -> Self {
        Self {
            status: None,
            challenge: None,
            body,
        }
    }

    /// The headers, as PostgREST takes them. Nothing of this is for a cache (RFC 6749, section 5.1).
    pub fn headers(&self) -> Vec<Value> {
        let mut headers = vec![
            json!({ "Cache-Control": "no-store" }),
            json!({ "Pragma": "no-cache" }),
        ];
        headers.extend(
            self.challenge
                .map(|challenge| json!({ "WWW-Authenticate": challenge })),
        );
        headers
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let (status, challenge) = match refusal {
            Refusal::InvalidClient => (401, Some("Basic realm=\"token\"")),
            _ => (400, None),
        };
        Self {
            status: Some(status),
            challenge,
            body: json!({
                "error": refusal.code(),
                "error_description": refusal.description(),
            }),
        }
    }
}

/// The answer to a client that gets tokens (RFC 6749, section 5.1), with the times at which the refresh
/// token and the session end (draft-ietf-oauth-refresh-token-expiration-03). `expires_in` is the access
/// token's life in seconds.
pub fn token_response(
    grant: &Grant,
    access_token: &str,
    expires_in: i64,
    scope: Option<&str>,
    now: Timestamp,
) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.into(), value);
        }
    };
    let refresh_token = grant.refresh_token.as_ref();
    put("access_token", Some(access_token.into()));
    put("token_type", Some("Bearer".into()));
    put("expires_in", Some(expires_in.into()));
    put(
        "refresh_token",
        refresh_token.map(|token| token.as_str().into()),
    );
    put(
        "refresh_token_timeout",
        seconds_until(grant.expires_at, now),
    );
    put(
        "authorization_expires_in",
        seconds_until(grant.session_expires_at, now),
    );
    put("scope", scope.map(Value::from));
    body.into()
}

/// The whole seconds from `now` to `end`; none if there is no end.
fn seconds_until(end: Option<Timestamp>, now: Timestamp) -> Option<Value> {
    let end = end?.unix_seconds()?;
    Some((end - now.unix_seconds()?).max(0).into())
}

#[cfg(test)]
mod tests;

//! How an OAuth 2 endpoint answers (RFC 6749, section 5; RFC 7009).

use crate::label::Label;
use crate::time::Timestamp;
use crate::verdict::Grant;
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;

/// Why a request is refused (RFC 6749, section 5.2; RFC 7009, section 2.2.1). The label is the member `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
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
                "error": refusal.label(),
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

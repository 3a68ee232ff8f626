//! What a request to an OAuth 2 endpoint may hold (RFC 6749, section 6; RFC 7009; RFC 7662).

use super::answer::Refusal;
use super::headers::{Basic, Headers};
use super::scope;
use serde::Deserialize;
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
        let requested = present(&self.scope);
        if requested.is_some_and(|words| !scope::is_well_formed(words)) {
            return Err(Refusal::InvalidScope);
        }
        Ok((token, requested))
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

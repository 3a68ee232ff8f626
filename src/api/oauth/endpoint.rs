//! What the OAuth endpoints share: the request and the client as PostgREST hands them on, the answer.

use crate::api::argument::JsonText;
use crate::api::event::{caller, record_failed_authentication};
use crate::api::sessions::is_good;
use crate::error::Error;
use crate::store::{self, Caller, Store};
use crate::{postgrest, settings};
use pgrx::JsonB;
use pgrx::pg_sys::panic::ErrorReport;
use refresh_tokens_core::oauth::answer::{Answer, Refusal};
use refresh_tokens_core::oauth::headers::Headers;
use refresh_tokens_core::oauth::request::{Client, Request};
use serde_json::Value;

/// Why an endpoint has no success to tell of.
pub(in crate::api) enum EndpointError {
    /// The client is told; what the call did stays done.
    Refused(Refusal),
    /// The contract is broken; nothing is done.
    Failed(Error),
}

impl From<Refusal> for EndpointError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<E: Into<Error>> From<E> for EndpointError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Who asks about a token.
pub(in crate::api) enum Asker {
    /// A client that has authenticated: a resource server is told about every token (RFC 7662, section 4).
    Client,
    /// A user, who is told about its own tokens alone.
    User(String),
}

impl Asker {
    /// Whether it may be told about a token of `user_id`.
    pub(in crate::api) fn may_see(&self, user_id: Option<&str>) -> bool {
        match self {
            Self::Client => true,
            Self::User(own) => user_id == Some(own),
        }
    }
}

/// One HTTP request to an endpoint.
pub(in crate::api) struct Call<'a> {
    pub(in crate::api) store: &'a Store<'a>,
    pub(in crate::api) request: &'a Request,
    headers: &'a Headers,
}

/// Lets `endpoint` answer `request`, in a transaction that writes: a token has no business in the query
/// string of a GET, which PostgREST would run read-only.
pub(in crate::api) fn serve(
    request: Result<Request, Refusal>,
    endpoint: impl FnOnce(&Call<'_>) -> Result<Value, EndpointError>,
) -> Result<JsonB, ErrorReport> {
    let headers = postgrest::request_headers();
    let answer = store::write(|store| {
        let answer = request.map_err(EndpointError::Refused).and_then(|request| {
            endpoint(&Call {
                store,
                request: &request,
                headers: &headers,
            })
        });
        match answer {
            Ok(body) => Ok(Answer::ok(body)),
            Err(EndpointError::Refused(refusal)) => Ok(refusal.into()),
            Err(EndpointError::Failed(error)) => Err(error),
        }
    })?;
    Ok(respond(answer))
}

/// Passes `answer` to PostgREST: its body is what the function returns.
pub(in crate::api) fn respond(answer: Answer) -> JsonB {
    postgrest::respond(&answer);
    JsonB(answer.body)
}

/// Reads a JSON body; NULL is none.
pub(in crate::api) fn body(json: Option<JsonText>) -> Result<Request, Refusal> {
    Request::parse(json.as_ref().map_or("", JsonText::as_str))
}

/// The request about `token` that a form makes.
pub(in crate::api) fn about(
    token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    client_assertion: Option<String>,
) -> Request {
    Request {
        token: token.map(Into::into),
        client_id,
        client_secret: client_secret.map(Into::into),
        client_assertion: client_assertion.map(Into::into),
        ..Request::default()
    }
}

impl Call<'_> {
    /// The client, which the application's hook has accepted if there is one. Without a hook every
    /// client is a public one, which says who it is and proves nothing. A failure is recorded.
    pub(in crate::api) fn client(&self) -> Result<Client, EndpointError> {
        let client = self.request.client(self.headers);
        let name = match &client {
            Ok(client) if self.is_accepted(client)? => None,
            Ok(client) => Some(client.id.as_deref()),
            Err(Refusal::InvalidClient) => Some(self.request.client_id.as_deref()),
            Err(_) => None,
        };
        if let Some(name) = name {
            record_failed_authentication(self.store, name, &self.caller())?;
            return Err(Refusal::InvalidClient.into());
        }
        Ok(client?)
    }

    /// Whether the hook, if there is one, accepts `client` with what it has sent.
    fn is_accepted(&self, client: &Client) -> Result<bool, Error> {
        let secret = client.secret.as_ref().map(|secret| secret.as_str());
        match &client.id {
            Some(id) => Ok(self.ask_hook(id, secret)?.unwrap_or(true)),
            None => Ok(true),
        }
    }

    /// What the hook says of a client; none without a hook.
    fn ask_hook(&self, id: &str, secret: Option<&str>) -> Result<Option<bool>, Error> {
        let hook = settings::client_authentication_hook();
        let answer = hook.map(|hook| {
            self.store
                .call_client_authentication_hook(&hook, id, secret)
        });
        answer.transpose()
    }

    /// Who has shown to be calling: an accepted `client` by its secret, or a user by an access token that the
    /// PostgREST has verified, and whose session is live.
    ///
    /// A secret shows something only where the hook refuses the same client without one: else it accepts
    /// whatever a public client sends along.
    pub(in crate::api) fn asker(&self, client: &Client) -> Result<Asker, EndpointError> {
        if let (Some(id), Some(_)) = (&client.id, &client.secret)
            && self.ask_hook(id, None)? == Some(false)
        {
            return Ok(Asker::Client);
        }
        let claims = postgrest::claims();
        match claims.user_id() {
            Some(user_id) if is_good(self.store, &claims)? => Ok(Asker::User(user_id.to_owned())),
            _ => Err(Refusal::InvalidClient.into()),
        }
    }

    /// Who calls, as far as it is recorded.
    pub(in crate::api) fn caller(&self) -> Caller<'_> {
        caller(self.headers)
    }
}

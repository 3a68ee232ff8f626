//! A request and a response, as far as they matter here.

use data_encoding::BASE64;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;

/// A request to PostgREST.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// What follows the question mark, as it was sent.
    pub query: String,
    /// Names, as they were sent, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What `request.headers` is set to in place of the headers: no PostgREST does that, a database must
    /// bear it all the same.
    pub forged_headers: Option<String>,
}

impl Request {
    fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            forged_headers: None,
        }
    }

    /// A request with another method than GET and POST.
    pub fn with_method(method: &str, target: &str) -> Self {
        Self::new(method, target)
    }

    /// GET of a path, with or without a query.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// POST to a path, without a body yet.
    pub fn post(target: &str) -> Self {
        Self::new("POST", target)
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With an access token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a client's name and password, as RFC 6749 section 2.3.1 has them.
    #[must_use]
    pub fn basic(self, client: &str, secret: &str) -> Self {
        let encode = |text: &str| percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
        let pair = format!("{}:{}", encode(client), encode(secret));
        let pair = BASE64.encode(pair.as_bytes());
        self.header("Authorization", &format!("Basic {pair}"))
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", content_type)
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// With a form as its body.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let encode = |text: &str| percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string();
        let fields: Vec<String> = (fields.iter())
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.body("application/x-www-form-urlencoded", fields.join("&"))
    }

    /// With `request.headers` set to this text, whatever the headers are.
    #[must_use]
    pub fn forge_headers(mut self, text: &str) -> Self {
        self.forged_headers = Some(text.to_owned());
        self
    }

    /// The last header of this name: of several, PostgREST's `request.headers` keeps the last.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        last(&self.headers, name)
    }
}

/// PostgREST's answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The last header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        last(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It isn't JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

fn last<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let named = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
    (headers.iter().rfind(named)).map(|(_, value)| value.as_str())
}

//! What PostgREST answers when a request fails, in or before the database.
//!
//! PostgREST's documentation, page "Errors": the body, "HTTP Status Codes", "PostgREST Error Codes",
//! "RAISE errors with HTTP Status Codes", "Add HTTP Headers with RAISE".

use super::http::Response;
use postgres::error::DbError;
use serde_json::{Value, json};

/// A failed request.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: u16,
    code: String,
    message: String,
    details: Value,
    hint: Value,
    headers: Vec<(String, String)>,
}

impl Refusal {
    /// An error of PostgREST's own, `PGRST` and three characters.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            details: Value::Null,
            hint: Value::Null,
            headers: Vec::new(),
        }
    }

    /// With details.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Value::String(details.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What the bridge leaves out and PostgREST has: an answer that no test takes for PostgREST's.
    pub fn left_out(what: &str) -> Self {
        Self::new(501, "BRIDGE", format!("left out of the bridge: {what}"))
    }

    /// An error of the database. `anonymous`: the request was made as the anonymous role.
    pub fn from_database(error: &postgres::Error, anonymous: bool) -> Self {
        match error.as_db_error() {
            None => Self::new(
                503,
                "PGRST001",
                "Database client error. Retrying the connection.",
            ),
            Some(error) if error.code().code() == "PGRST" => Self::raised(error),
            Some(error) if ["40001", "40P01"].contains(&error.code().code()) => {
                Self::left_out("a function that is called again for ever")
            }
            Some(error) => Self::reported(error, anonymous),
        }
    }

    fn reported(error: &DbError, anonymous: bool) -> Self {
        let code = error.code().code();
        let status = status_of(code, error.message(), anonymous);
        let text = |text: Option<&str>| text.map_or(Value::Null, |text| json!(text));
        let headers = match status {
            401 => vec![("WWW-Authenticate".to_owned(), "Bearer".to_owned())],
            _ => Vec::new(),
        };
        Self {
            status,
            code: code.to_owned(),
            message: error.message().to_owned(),
            details: text(error.detail()),
            hint: text(error.hint()),
            headers,
        }
    }

    /// SQLSTATE PGRST: the message and the detail say in JSON what the answer shall be.
    fn raised(error: &DbError) -> Self {
        let message: Option<Value> = serde_json::from_str(error.message()).ok();
        let detail: Option<Value> = error
            .detail()
            .and_then(|text| serde_json::from_str(text).ok());
        Self::from_raise(message.as_ref(), detail.as_ref()).unwrap_or_else(|| {
            let message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error";
            Self::new(500, "PGRST121", message)
        })
    }

    fn from_raise(message: Option<&Value>, detail: Option<&Value>) -> Option<Self> {
        let (message, detail) = (message?, detail?);
        let headers = detail.get("headers")?.as_object()?.iter();
        let headers: Option<Vec<_>> = headers
            .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        Some(Self {
            status: detail.get("status")?.as_u64()?.try_into().ok()?,
            code: message.get("code")?.as_str()?.to_owned(),
            message: message.get("message")?.as_str()?.to_owned(),
            details: message.get("details").cloned().unwrap_or(Value::Null),
            hint: message.get("hint").cloned().unwrap_or(Value::Null),
            headers: headers?,
        })
    }

    /// As it is sent.
    pub fn response(self) -> Response {
        let body = json!({
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "hint": self.hint,
        });
        let content_type = "application/json; charset=utf-8".to_owned();
        let mut headers = vec![("Content-Type".to_owned(), content_type)];
        headers.extend(self.headers);
        Response {
            status: self.status,
            headers,
            body: body.to_string().into_bytes(),
        }
    }
}

fn status_of(code: &str, message: &str, anonymous: bool) -> u16 {
    let no_such_role = message.starts_with("role") && message.ends_with("does not exist");
    match code {
        "23503" | "23505" => 409,
        "25006" => 405,
        "21000" => 500,
        "22023" if no_such_role => 401,
        "42883" | "42P01" => 404,
        "42P17" | "53400" => 500,
        "42501" if anonymous => 401,
        "42501" => 403,
        "57P01" => 503,
        "P0001" => 400,
        _ => match (&code[..2], code.get(2..).map(str::parse)) {
            ("PT", Some(Ok(status))) => status,
            ("08" | "53", _) => 503,
            ("0L" | "0P" | "28", _) => 403,
            ("09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58", _) => 500,
            ("F0" | "HV" | "P0" | "PT" | "XX", _) => 500,
            _ => 400,
        },
    }
}

//! What a request hands to a function: from a JSON body, a form, or the query.
//!
//! PostgREST's documentation, page "Functions as RPC": "Calling with POST", "Calling with GET",
//! "Functions with a single unnamed JSON parameter"; page "Tables and Views": what a query asks for.

use super::http::Request;
use super::refusal::Refusal;
use percent_encoding::percent_decode;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The media type of a body, as far as it decides how a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// application/json, which is also what a request without a Content-Type has.
    Json,
    /// application/x-www-form-urlencoded.
    Form,
    /// text/plain, text/xml and application/octet-stream: nothing that has names.
    Raw,
}

/// Arguments, before it is known of which function.
#[derive(Clone, Debug)]
pub enum Arguments {
    /// A JSON text: an object, or an array of objects of which the first counts.
    Json {
        /// The body.
        text: String,
        /// Its keys.
        keys: BTreeSet<String>,
    },
    /// Texts, and NULLs. Of two with the same name the last one counts.
    Texts(BTreeMap<String, Option<String>>),
}

/// What a query asks for beside arguments.
#[derive(Debug, Default)]
pub struct Asked {
    /// The type that the result is cast to.
    pub cast: Option<String>,
    /// Whether there is to be no row, and so no call.
    pub nothing: bool,
}

impl Asked {
    /// Takes `name=value` for what it asks for: page "Tables and Views". False: it asks for nothing.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        let cast = value.strip_prefix("pgrst_scalar::").filter(|name| {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.chars().all(plain)
        });
        match (name, cast, value) {
            ("select", Some(cast), _) => self.cast = Some(cast.to_owned()),
            ("limit", _, "0") => self.nothing = true,
            (
                "select" | "columns" | "on_conflict" | "order" | "limit" | "offset" | "and" | "or",
                ..,
            ) => {
                return Err(Refusal::left_out(&format!("the query parameter {name}")));
            }
            _ if name.contains('.') || value.contains(['.', '(']) => {
                return Err(Refusal::left_out(&format!("a filter on {name}")));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Arguments {
    /// The names of the parameters that a function must declare.
    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Self::Json { keys, .. } => keys.clone(),
            Self::Texts(texts) => texts.keys().cloned().collect(),
        }
    }

    /// These arguments of a POST with a query beside them. A parameter in it is NULL: the query's value is not taken, and
    /// no more is the form's.
    ///
    /// # Errors
    /// A query that asks for what is left out.
    pub fn with_query(mut self, query: &str) -> Result<(Self, Asked), Refusal> {
        let mut asked = Asked::default();
        for (name, value) in pairs(query.as_bytes())? {
            if asked.take(&name, &value.unwrap_or_default())? {
                continue;
            }
            match &mut self {
                Self::Texts(texts) => drop(texts.insert(name, None)),
                Self::Json { .. } => {
                    let what = "a parameter in the query beside a JSON body";
                    return Err(Refusal::left_out(what));
                }
            }
        }
        Ok((self, asked))
    }
}

/// The media type of the body of a request.
///
/// # Errors
/// PGRST102: no function is ever called with such a body.
pub fn media(request: &Request) -> Result<Media, Refusal> {
    let content_type = request
        .header_value("content-type")
        .unwrap_or("application/json");
    match content_type.split(';').next().unwrap_or_default() {
        "application/json" => Ok(Media::Json),
        "application/x-www-form-urlencoded" => Ok(Media::Form),
        "text/plain" | "text/xml" | "application/octet-stream" => Ok(Media::Raw),
        "text/csv" => Err(Refusal::left_out("a body in CSV")),
        other => Err(invalid(&format!("Content-Type not acceptable: {other}"))),
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "PGRST102", message)
}

/// The arguments in the body of a POST.
///
/// # Errors
/// PGRST102: it isn't what its media type says.
pub fn of_body(media: Media, body: &[u8]) -> Result<Arguments, Refusal> {
    match media {
        Media::Raw => Ok(Arguments::Texts(BTreeMap::new())),
        Media::Form => Ok(Arguments::Texts(
            pairs(body)?
                .into_iter()
                .map(|(name, value)| (name, Some(value.unwrap_or_default())))
                .collect(),
        )),
        Media::Json => of_json(body),
    }
}

fn of_json(body: &[u8]) -> Result<Arguments, Refusal> {
    let text = String::from_utf8(body.to_vec()).map_err(|_| invalid("Empty or invalid json"))?;
    let value: Value = match body {
        [] => Value::Object(serde_json::Map::new()),
        _ => serde_json::from_str(&text).map_err(|_| invalid("Empty or invalid json"))?,
    };
    let keys_of = |value: &Value| -> Option<BTreeSet<String>> {
        Some(value.as_object()?.keys().cloned().collect())
    };
    match &value {
        Value::Object(_) => Ok(Arguments::Json {
            text,
            keys: keys_of(&value).unwrap_or_default(),
        }),
        Value::Array(elements) if !elements.is_empty() => {
            let keys = keys_of(&elements[0]);
            let uniform = keys.is_some() && elements.iter().all(|element| keys_of(element) == keys);
            let keys = keys.filter(|_| uniform);
            let keys = keys.ok_or_else(|| invalid("All object keys must match"))?;
            Ok(Arguments::Json { text, keys })
        }
        _ => Ok(Arguments::Json {
            text: "[]".to_owned(),
            keys: BTreeSet::new(),
        }),
    }
}

/// The arguments in the query of a GET, and what else it asks for.
///
/// # Errors
/// A query that asks for what is left out.
pub fn of_query(query: &str) -> Result<(Arguments, Asked), Refusal> {
    let (mut texts, mut asked) = (BTreeMap::new(), Asked::default());
    for (name, value) in pairs(query.as_bytes())? {
        let Some(value) = value else { continue };
        if !asked.take(&name, &value)? {
            texts.insert(name, Some(value));
        }
    }
    Ok((Arguments::Texts(texts), asked))
}

/// Names and values; a name without an equals sign has no value.
fn pairs(text: &[u8]) -> Result<Vec<(String, Option<String>)>, Refusal> {
    let text = text
        .strip_suffix(b"&")
        .or(text.strip_suffix(b";"))
        .unwrap_or(text);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let decode = |bytes: &[u8]| {
        let spaced: Vec<u8> = bytes
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        let decoded = percent_decode(&spaced).collect();
        String::from_utf8(decoded).map_err(|_| Refusal::new(500, "", "Something went wrong"))
    };
    (text.split(|byte| matches!(byte, b'&' | b';')))
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            None => Ok((decode(pair)?, None)),
            Some(at) => Ok((decode(&pair[..at])?, Some(decode(&pair[at + 1..])?))),
        })
        .collect()
}

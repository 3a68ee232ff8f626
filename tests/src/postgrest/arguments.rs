//! What a request hands to a function: from a JSON body, a form, or the query.
//!
//! PostgREST's documentation, page "Functions as RPC": "Calling with POST", "Calling with GET",
//! "Functions with a single unnamed JSON parameter", "Functions with a single unnamed parameter".

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
    /// text/plain, text/xml and application/octet-stream, and the type that a function's one unnamed
    /// parameter must have to be given such a body.
    Raw(&'static str),
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
    /// Texts. Of two with the same name the last one counts.
    Texts(BTreeMap<String, String>),
    /// A body for one unnamed parameter.
    Raw(Vec<u8>),
}

impl Arguments {
    /// The names of the parameters that a function must declare.
    pub fn names(&self) -> BTreeSet<String> {
        match self {
            Self::Json { keys, .. } => keys.clone(),
            Self::Texts(texts) => texts.keys().cloned().collect(),
            Self::Raw(_) => BTreeSet::new(),
        }
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
        "text/plain" => Ok(Media::Raw("text")),
        "text/xml" => Ok(Media::Raw("xml")),
        "application/octet-stream" => Ok(Media::Raw("bytea")),
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
        Media::Raw(_) => Ok(Arguments::Raw(body.to_vec())),
        Media::Form => Ok(Arguments::Texts(
            pairs(body)?
                .into_iter()
                .map(|(name, value)| (name, value.unwrap_or_default()))
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

/// The arguments in the query of a GET.
///
/// # Errors
/// A query that asks for more than a call: filters, an order, a selection.
pub fn of_query(query: &str) -> Result<Arguments, Refusal> {
    let mut texts = BTreeMap::new();
    for (name, value) in pairs(query.as_bytes())? {
        let Some(value) = value else { continue };
        if shapes_the_answer(&name, &value) {
            return Err(Refusal::left_out(&format!("the query parameter {name}")));
        }
        texts.insert(name, value);
    }
    Ok(Arguments::Texts(texts))
}

/// Whether PostgREST takes a parameter of a query for something else than an argument: page "Tables and
/// Views", "Operators".
fn shapes_the_answer(name: &str, value: &str) -> bool {
    const RESERVED: [&str; 8] = [
        "select",
        "columns",
        "on_conflict",
        "order",
        "limit",
        "offset",
        "and",
        "or",
    ];
    const OPERATORS: [&str; 26] = [
        "not",
        "is",
        "in",
        "eq",
        "gte",
        "gt",
        "lte",
        "lt",
        "neq",
        "like",
        "ilike",
        "match",
        "imatch",
        "isdistinct",
        "cs",
        "cd",
        "ov",
        "sl",
        "sr",
        "nxr",
        "nxl",
        "adj",
        "fts",
        "plfts",
        "phfts",
        "wfts",
    ];
    let operator = value.split(['.', '(']).next().unwrap_or_default();
    name.contains('.') || RESERVED.contains(&name) || OPERATORS.contains(&operator)
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

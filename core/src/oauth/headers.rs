//! The headers of an HTTP request, as PostgREST hands them on: a JSON object in `request.headers`.
//!
//! A client chooses all of them. So a header that matters here is read whatever else is there; one that is
//! not as it should be is taken for absent; and an address is believed only from proxies that a setting
//! says to trust.

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use zeroize::Zeroizing;

/// The headers that matter here.
#[derive(Default)]
pub struct Headers {
    user_agent: Option<String>,
    forwarded_for: Option<String>,
    authorization: Option<Zeroizing<String>>,
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(headers: D) -> Result<Self, D::Error> {
        headers.deserialize_map(Fields)
    }
}

/// Reads the headers that matter out of a JSON object, and steps over the others: neither their number nor
/// their size or depth matters. Of a header that comes twice, the last is taken.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Headers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of headers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Headers, A::Error> {
        let mut headers = Headers::default();
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            match &*name {
                "user-agent" => headers.user_agent = text(fields.next_value()?),
                "x-forwarded-for" => headers.forwarded_for = text(fields.next_value()?),
                "authorization" => {
                    headers.authorization = text(fields.next_value()?).map(Zeroizing::new);
                }
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(headers)
    }
}

/// A header's value; none if it is no string. What is no character, and NUL, which PostgreSQL's text has not,
/// is replaced.
fn text(value: &RawValue) -> Option<String> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"))
        }
    }

    // As bytes, a surrogate alone is no error.
    let mut json = serde_json::Deserializer::from_str(value.get());
    json.deserialize_bytes(Text).ok()
}

/// What the header `Authorization` says about the client (RFC 6749, section 2.3.1).
pub enum Basic {
    /// It is not there, or of another scheme, as `Bearer`.
    Absent,
    /// It is of the scheme `Basic` and can't be read.
    Malformed,
    /// A client and its secret.
    Credentials(String, Zeroizing<String>),
}

impl Headers {
    /// Reads a JSON object of strings. Of anything else there are no headers.
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// The client's user agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }

    /// The client's address: the entry of `X-Forwarded-For` that the outermost of `trusted_proxies`
    /// has added. Each proxy appends whom it was asked by, so what lies further left was written by
    /// the client. None if no proxy is trusted, or the entry is no address.
    pub fn client_address(&self, trusted_proxies: usize) -> Option<IpAddr> {
        let skip = trusted_proxies.checked_sub(1)?;
        let entry = self.forwarded_for.as_deref()?.rsplit(',').nth(skip)?.trim();
        let with_port = || entry.parse::<SocketAddr>().map(|address| address.ip());
        entry.parse().or_else(|_| with_port()).ok()
    }

    /// The client's credentials, if it sends them in the header.
    pub fn basic(&self) -> Basic {
        let scheme = "basic ";
        match self.authorization.as_deref().map(String::as_str) {
            Some(value)
                if value
                    .get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme)) =>
            {
                credentials(value[scheme.len()..].trim())
                    .map_or(Basic::Malformed, |(id, secret)| {
                        Basic::Credentials(id, secret)
                    })
            }
            _ => Basic::Absent,
        }
    }
}

fn credentials(encoded: &str) -> Option<(String, Zeroizing<String>)> {
    let bytes = Zeroizing::new(BASE64.decode(encoded.as_bytes()).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((form_decode(id)?, Zeroizing::new(form_decode(secret)?)))
}

/// Undoes the encoding of `application/x-www-form-urlencoded`.
fn form_decode(text: &str) -> Option<String> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    // PostgreSQL's text has no NUL.
    (!decoded.contains('\0')).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(forwarded: &str, trusted: usize) -> Option<String> {
        let json = serde_json::json!({ "x-forwarded-for": forwarded });
        let address = Headers::parse(&json.to_string()).client_address(trusted)?;
        Some(address.to_string())
    }

    #[test]
    fn an_address_is_taken_from_trusted_proxies_only() {
        let list = "6.6.6.6, 192.0.2.7,198.51.100.1";
        assert_eq!(address(list, 0), None);
        assert_eq!(address(list, 1).as_deref(), Some("198.51.100.1"));
        assert_eq!(address(list, 2).as_deref(), Some("192.0.2.7"));
        assert_eq!(address(list, 4), None);
        assert_eq!(
            address("[2001:db8::1]:443", 1).as_deref(),
            Some("2001:db8::1")
        );
        assert_eq!(address("192.0.2.7:80", 1).as_deref(), Some("192.0.2.7"));
        for garbage in ["", ",", "unknown", "1.2.3", "1.2.3.4/8", "'; DROP"] {
            assert_eq!(address(garbage, 1), None, "{garbage}");
        }
    }

    #[test]
    fn garbage_is_no_header() {
        let deep = "[".repeat(100_000);
        for json in [
            "",
            "null",
            "7",
            "[]",
            "{",
            r#"{"user-agent": 7}"#,
            r#"{"user-agent": null, "authorization": ["Basic YXBwOg=="]}"#,
            &deep,
        ] {
            let headers = Headers::parse(json);
            assert_eq!(headers.user_agent(), None);
            assert!(matches!(headers.basic(), Basic::Absent));
        }
    }

    #[test]
    fn what_else_is_there_hides_nothing() {
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let long = "x".repeat(1 << 20);
        let known = r#""user-agent": "a", "x-forwarded-for": "192.0.2.7", "authorization": "Basic YXBwOg==""#;
        for json in [
            format!(r#"{{{known}, "cookie": "{long}"}}"#),
            format!(r#"{{"x": {deep}, {known}, "y": 1e400, "z": "\ud800"}}"#),
            format!(r#"{{"user-agent": 7, "x-forwarded-for": {{}}, {known}}}"#),
        ] {
            let headers = Headers::parse(&json);
            assert_eq!(headers.user_agent(), Some("a"));
            assert!(headers.client_address(1).is_some());
            assert!(matches!(headers.basic(), Basic::Credentials(..)));
        }
        let half = r#"{"user-agent": 7, "x-forwarded-for": "192.0.2.7"}"#;
        assert!(Headers::parse(half).client_address(1).is_some());
        let headers = Headers::parse(&format!(r#"{{"user-agent": "{long}"}}"#));
        assert_eq!(
            headers.user_agent(),
            Some(&*long),
            "whoever stores it cuts it"
        );
    }

    #[test]
    fn what_postgresql_can_not_hold_is_replaced() {
        let json = r#"{"user-agent": "\u0000a\u0000", "x-forwarded-for": "192.0.2.7\u0000"}"#;
        let headers = Headers::parse(json);
        assert_eq!(headers.user_agent(), Some("\u{fffd}a\u{fffd}"));
        assert_eq!(headers.client_address(1), None);
        let lone = Headers::parse(r#"{"user-agent": "a\ud800b"}"#);
        let lone = lone.user_agent().unwrap();
        assert!(lone.starts_with('a') && lone.ends_with('b'), "{lone:?}");
    }

    proptest! {
        /// Whatever a client calls itself is read to the letter, whatever comes before and after it.
        #[test]
        fn a_user_agent_is_read_to_the_letter(
            agent in any::<String>(),
            others in prop::collection::btree_map(any::<String>(), any::<String>(), 0..8),
        ) {
            let mut fields = serde_json::json!(others);
            fields["user-agent"] = agent.as_str().into();
            let headers = Headers::parse(&fields.to_string());
            prop_assert_eq!(headers.user_agent(), Some(&*agent.replace('\0', "\u{fffd}")));
        }

        /// No text that PostgREST passes does more than say nothing.
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            let headers = Headers::parse(&text);
            let _ = (headers.user_agent(), headers.client_address(1), headers.basic());
        }
    }

    fn basic(value: &str) -> Option<(String, String)> {
        let json = serde_json::json!({ "authorization": value });
        match Headers::parse(&json.to_string()).basic() {
            Basic::Credentials(id, secret) => Some((id, secret.to_string())),
            _ => None,
        }
    }

    #[test]
    fn reads_credentials() {
        let encode = |text: &str| BASE64.encode(text.as_bytes());
        let read = basic(&format!("basic {}", encode("app:s%3Acr+et")));
        assert_eq!(read, Some(("app".into(), "s:cr et".into())));
        assert_eq!(
            basic(&format!("Basic {}", encode("app:"))),
            Some(("app".into(), String::new()))
        );
        for value in [
            "Bearer abc".to_owned(),
            "Basic".into(),
            "Basic ***".into(),
            format!("Basic {}", encode("app")),
            format!("Basic {}", encode("app:%00")),
            format!("Basic {}", encode("app:%FF")),
        ] {
            assert_eq!(basic(&value), None, "{value}");
        }
        let malformed = Headers::parse(r#"{"authorization": "Basic ***"}"#).basic();
        assert!(matches!(malformed, Basic::Malformed));
    }
}

//! The headers of an HTTP request, as PostgREST hands them on: a JSON object in `request.headers`.
//!
//! A client chooses all of them. So whatever is not as it should be is taken for absent, and an
//! address is believed only from proxies that a setting says to trust.

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::net::{IpAddr, SocketAddr};
use zeroize::Zeroizing;

/// Headers longer than this are not read; servers take 8 to 64 kB.
const MAX_BYTES: usize = 64 * 1024;

/// The headers that matter here.
#[derive(Debug, Default)]
pub struct Headers {
    fields: Map<String, Value>,
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
    /// Reads a JSON object of strings.
    pub fn parse(json: &str) -> Self {
        if json.len() > MAX_BYTES {
            return Self::default();
        }
        let fields = serde_json::from_str(json).unwrap_or_default();
        Self { fields }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// The client's user agent.
    pub fn user_agent(&self) -> Option<&str> {
        self.get("user-agent")
    }

    /// The client's address: the entry of `X-Forwarded-For` that the outermost of `trusted_proxies`
    /// has added. Each proxy appends whom it was asked by, so what lies further left was written by
    /// the client. None if no proxy is trusted, or the entry is no address.
    pub fn client_address(&self, trusted_proxies: usize) -> Option<IpAddr> {
        let skip = trusted_proxies.checked_sub(1)?;
        let entry = self.get("x-forwarded-for")?.rsplit(',').nth(skip)?.trim();
        let with_port = || entry.parse::<SocketAddr>().map(|address| address.ip());
        entry.parse().or_else(|_| with_port()).ok()
    }

    /// The client's credentials, if it sends them in the header.
    pub fn basic(&self) -> Basic {
        let scheme = "basic ";
        match self.get("authorization") {
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
        let long = format!(r#"{{"user-agent": "{}"}}"#, "x".repeat(1 << 20));
        for json in [
            "",
            "null",
            "7",
            "[]",
            "{",
            r#"{"user-agent": 7}"#,
            &deep,
            &long,
        ] {
            let headers = Headers::parse(json);
            assert_eq!(headers.user_agent(), None);
            assert!(matches!(headers.basic(), Basic::Absent));
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

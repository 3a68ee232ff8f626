//! The claims of an access token, as a gateway that has verified it hands them on.

use serde_json::{Map, Value};
use uuid::Uuid;

/// Who the claims say is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user (RFC 7519, section 4.1.2).
    pub user_id: String,
    /// `session_id`: the session that the access token belongs to, if it says so.
    pub session_id: Option<Uuid>,
}

impl Claims {
    /// Reads a JSON object. None: it is no such object, or names no user.
    pub fn parse(json: &str) -> Option<Self> {
        let claims: Map<String, Value> = serde_json::from_str(json).ok()?;
        let user_id = claims.get("sub")?.as_str().filter(|sub| !sub.is_empty())?;
        Some(Self {
            user_id: user_id.to_owned(),
            session_id: session_id(&claims),
        })
    }
}

/// The session that `claims` name.
pub fn session_id(claims: &Map<String, Value>) -> Option<Uuid> {
    let id = claims.get("session_id")?.as_str()?;
    Uuid::try_parse(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_user_and_perhaps_a_session() {
        let id = Uuid::nil();
        let json = format!(r#"{{"sub": "alice", "session_id": "{id}", "role": "user"}}"#);
        let claims = Claims::parse(&json).unwrap();
        assert_eq!(
            (claims.user_id.as_str(), claims.session_id),
            ("alice", Some(id))
        );
        let claims = Claims::parse(r#"{"sub": "alice", "session_id": 7}"#).unwrap();
        assert_eq!(claims.session_id, None);
    }

    #[test]
    fn what_names_no_user_is_nobody() {
        for json in [
            "",
            "null",
            "7",
            "[]",
            "{}",
            "sub",
            r#""sub""#,
            r#"{"sub": null}"#,
            r#"{"sub": ""}"#,
            r#"{"sub": 7}"#,
            r#"{"sub": ["alice"]}"#,
            r#"{"sub": {"a": 1}}"#,
            r#"{"sub": "alice""#,
            r#"[{"sub": "alice"}]"#,
            &"[".repeat(100_000),
        ] {
            assert_eq!(Claims::parse(json), None, "{json}");
        }
    }
}

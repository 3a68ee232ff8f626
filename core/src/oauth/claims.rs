//! The claims of an access token, as a gateway that has verified it hands them on.
//!
//! A claim that is there and can't be read is never taken for one that is absent: whoever could make it
//! unreadable would otherwise escape what is decided by it.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A claim, as far as it says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<T> {
    /// It is not there.
    Absent,
    /// It is there and is not what it should be.
    Unreadable,
    /// What it says.
    Is(T),
}

/// Who the claims say is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the user (RFC 7519, section 4.1.2).
    user: Claim<String>,
    /// `session_id`: the session that the access token belongs to.
    session: Claim<Uuid>,
}

/// Which session claims are good for as long as it is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundTo {
    /// None: they are not of this extension's tokens.
    Nothing,
    /// This one.
    Session(Uuid),
    /// One that nobody can tell: they are good for nothing.
    Unreadable,
}

/// The two claims that are read. Whatever else is there is skipped, of any size and depth.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Read {
    #[serde(deserialize_with = "some")]
    sub: Option<Value>,
    #[serde(deserialize_with = "some")]
    session_id: Option<Value>,
}

/// A value that is there, `null` too.
fn some<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl Claims {
    /// The claims of a request without an access token.
    pub const NONE: Self = Self {
        user: Claim::Absent,
        session: Claim::Absent,
    };

    /// What can't be read as claims.
    const UNREADABLE: Self = Self {
        user: Claim::Unreadable,
        session: Claim::Unreadable,
    };

    /// Reads a JSON object. Nothing at all and `null` are no claims; whatever else is no object, and an object
    /// that has one of these claims twice, can't be read.
    pub fn parse(json: &str) -> Self {
        if json.is_empty() || json.trim() == "null" {
            return Self::NONE;
        }
        // Of a list serde would take the elements for the members, in their order.
        if !json.trim_start().starts_with('{') {
            return Self::UNREADABLE;
        }
        match serde_json::from_str::<Read>(json) {
            Ok(read) => Self::of(read.sub.as_ref(), read.session_id.as_ref()),
            Err(_) => Self::UNREADABLE,
        }
    }

    /// The claims of a token that was verified here.
    pub fn of_token(claims: &Map<String, Value>) -> Self {
        Self::of(claims.get("sub"), claims.get("session_id"))
    }

    fn of(sub: Option<&Value>, session_id: Option<&Value>) -> Self {
        Self {
            user: read(sub, |sub| is_user(sub).then(|| sub.to_owned())),
            session: read(session_id, |id| Uuid::try_parse(id).ok()),
        }
    }

    /// The user, if the claims name one.
    pub fn user_id(&self) -> Option<&str> {
        match &self.user {
            Claim::Is(user) => Some(user),
            Claim::Absent | Claim::Unreadable => None,
        }
    }

    /// The session, if the claims name one.
    pub fn session_id(&self) -> Option<Uuid> {
        match self.session {
            Claim::Is(id) => Some(id),
            Claim::Absent | Claim::Unreadable => None,
        }
    }

    /// Which session has to be live for the claims to be good. Where they name one, the user must be
    /// readable too, if one is named.
    pub fn bound_to(&self) -> BoundTo {
        match (&self.session, &self.user) {
            (Claim::Absent, _) => BoundTo::Nothing,
            (Claim::Unreadable, _) | (_, Claim::Unreadable) => BoundTo::Unreadable,
            (Claim::Is(id), Claim::Absent | Claim::Is(_)) => BoundTo::Session(*id),
        }
    }
}

/// A claim that is to be a string which `parse` understands.
fn read<T>(value: Option<&Value>, parse: impl FnOnce(&str) -> Option<T>) -> Claim<T> {
    match value {
        None => Claim::Absent,
        Some(value) => value
            .as_str()
            .and_then(parse)
            .map_or(Claim::Unreadable, Claim::Is),
    }
}

/// Whether `sub` can name a user: PostgreSQL's text has no NUL.
fn is_user(sub: &str) -> bool {
    !sub.is_empty() && !sub.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "00000000-0000-4000-8000-000000000007";

    fn id() -> Uuid {
        ID.parse().unwrap()
    }

    #[test]
    fn names_a_user_and_perhaps_a_session() {
        let json = format!(r#"{{"sub": "alice", "session_id": "{ID}", "role": "user"}}"#);
        let claims = Claims::parse(&json);
        assert_eq!(claims.user_id(), Some("alice"));
        assert_eq!(claims.session_id(), Some(id()));
        assert_eq!(claims.bound_to(), BoundTo::Session(id()));
        let claims = Claims::parse(r#"{"sub": "alice"}"#);
        assert_eq!(
            (claims.user_id(), claims.session_id()),
            (Some("alice"), None)
        );
        assert_eq!(claims.bound_to(), BoundTo::Nothing);
    }

    #[test]
    fn what_names_no_session_is_bound_to_none() {
        for json in [
            "",
            "null",
            " null\n",
            "{}",
            r#"{"role": "anon"}"#,
            r#"{"sub": 7}"#,
        ] {
            let claims = Claims::parse(json);
            assert_eq!(claims.bound_to(), BoundTo::Nothing, "{json}");
            assert_eq!(claims.user_id(), None, "{json}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_good_for_nothing() {
        let long = "[".repeat(100_000);
        for json in [
            " ",
            "7",
            "[]",
            "sub",
            r#""sub""#,
            r#"{"sub": "alice""#,
            r#"{"sub": "alice", "sub": "bob"}"#,
            &format!(r#"["alice", "{ID}"]"#),
            &format!(r#"{{"sub": 7, "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": "", "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": "a\u0000", "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": null, "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": ["alice"], "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": {{"a": 1}}, "session_id": "{ID}"}}"#),
            &format!(r#"{{"sub": "alice", "session_id": "{ID} "}}"#),
            &format!(r#"{{"sub": "alice", "session_id": ["{ID}"]}}"#),
            &format!(r#"{{"session_id": "{ID}", "session_id": "{ID}"}}"#),
            r#"{"session_id": 7}"#,
            r#"{"session_id": null}"#,
            r#"{"session_id": ""}"#,
            r#"{"session_id": 1e400}"#,
            &format!(r#"{{"sub": {long}"#),
        ] {
            let claims = Claims::parse(json);
            assert_eq!(claims.bound_to(), BoundTo::Unreadable, "{json:.100}");
        }
        for nobody in [
            r#"{"sub": ""}"#,
            r#"{"sub": null}"#,
            r#"{"sub": ["alice"]}"#,
        ] {
            assert_eq!(Claims::parse(nobody).user_id(), None, "{nobody}");
        }
    }

    #[test]
    fn what_else_is_claimed_hides_nothing() {
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        let json = format!(r#"{{"x": {deep}, "y": 1e400, "session_id": "{ID}", "z": "\ud800"}}"#);
        assert_eq!(Claims::parse(&json).bound_to(), BoundTo::Session(id()));
    }

    proptest! {
        /// A value that is no id never counts as no value.
        #[test]
        fn no_session_claim_is_overlooked(text in "\\PC*") {
            let json = serde_json::json!({ "session_id": text }).to_string();
            let expected = match Uuid::try_parse(&text) {
                Ok(id) => BoundTo::Session(id),
                Err(_) => BoundTo::Unreadable,
            };
            prop_assert_eq!(Claims::parse(&json).bound_to(), expected);
        }

        /// Nor does text that is no JSON at all.
        #[test]
        fn only_an_object_is_claims(text in "\\PC+") {
            prop_assume!(!text.trim_start().starts_with('{') && text.trim() != "null");
            prop_assert_eq!(Claims::parse(&text).bound_to(), BoundTo::Unreadable);
        }
    }
}

//! The answer to who asks about a token without using it (RFC 7662, section 2.2).

use crate::sessions::{Policy, Session};
use crate::time::Timestamp;
use crate::verdict::TokenRow;
use serde_json::{Map, Value, json};

/// What is said of a token that is not live, whatever the reason.
pub fn inactive() -> Value {
    json!({ "active": false })
}

/// What is said of an access token that is good: its claims (RFC 7662, section 2.2).
pub fn active_access_token(claims: Map<String, Value>) -> Value {
    let mut answer = claims;
    answer.insert("active".into(), true.into());
    answer.insert("token_type".into(), "Bearer".into());
    answer.into()
}

/// What is said of the live token `row` of `session`. What is not known is left out.
pub fn active(session: &Session, row: TokenRow, scopes: Option<&str>, policy: &Policy) -> Value {
    let id = session.id.map(|id| id.hyphenated().to_string());
    let claims = [
        ("sub", session.user_id.as_deref().map(Value::from)),
        ("client_id", session.client_id.as_deref().map(Value::from)),
        ("scope", scopes.map(Value::from)),
        ("iat", seconds(row.created_at)),
        ("exp", seconds(session.expires_at(policy))),
        ("session_id", id.map(Value::from)),
    ];
    let mut answer = Map::new();
    answer.insert("active".into(), true.into());
    answer.insert("token_type".into(), "refresh_token".into());
    for (name, value) in claims {
        if let Some(value) = value {
            answer.insert(name.into(), value);
        }
    }
    answer.into()
}

/// `at` as RFC 7662 counts; none if it is not finite.
fn seconds(at: Option<Timestamp>) -> Option<Value> {
    at?.unix_seconds().map(Value::from)
}

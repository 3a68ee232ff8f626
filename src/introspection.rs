//! The answer to who asks about a token without using it (RFC 7662, section 2.2).

use crate::grant::TokenRow;
use crate::policy::Policy;
use crate::session::Session;
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// Microseconds from 1970-01-01, the epoch of RFC 7662, to 2000-01-01, PostgreSQL's.
const EPOCH: i64 = 946_684_800_000_000;

/// What is said of a token that is not live, whatever the reason.
pub fn inactive() -> Value {
    json!({ "active": false })
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

/// `at` in whole seconds since 1970; none if it is not finite.
fn seconds(at: Option<Timestamp>) -> Option<Value> {
    match at?.0 {
        i64::MIN | i64::MAX => None,
        finite => Some(finite.saturating_add(EPOCH).div_euclid(1_000_000).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_1970() {
        assert_eq!(seconds(Some(Timestamp(0))), Some(946_684_800.into()));
        assert_eq!(seconds(Some(Timestamp(-EPOCH - 1))), Some((-1).into()));
        assert_eq!(seconds(Some(Timestamp(i64::MAX))), None);
        assert_eq!(seconds(None), None);
    }
}

//! What an access token says: the claims that PostgREST and other resource servers decide by (RFC 7519,
//! section 4.1; RFC 9068, section 2.2).

use crate::time::{Micros, Timestamp};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The settings that access tokens are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessPolicy {
    /// `refresh_tokens.access_token_issuer`: the claim `iss`; none: it is left out.
    pub issuer: Option<String>,
    /// `refresh_tokens.access_token_audience`: the claim `aud`; none: it is left out.
    pub audience: Option<String>,
    /// `refresh_tokens.access_token_role`: the claim `role`; none: it is left out.
    pub role: Option<String>,
    /// `refresh_tokens.access_token_lifetime`: how long a token is good.
    pub lifetime: Micros,
}

/// Whom a token is for, and for how long at the most.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user.
    pub user_id: &'a str,
    /// The session.
    pub session_id: Uuid,
    /// The OAuth client that the session is bound to.
    pub client_id: Option<&'a str>,
    /// What the token may be used for.
    pub scope: Option<&'a str>,
    /// The session's end.
    pub session_expires_at: Option<Timestamp>,
}

/// The claims of a token that is issued at `now` with the name `jti`.
pub fn claims(
    policy: &AccessPolicy,
    subject: &Subject<'_>,
    jti: Uuid,
    now: Timestamp,
) -> Map<String, Value> {
    let mut claims = Map::new();
    let text = |value: Option<&str>| value.map(Value::from);
    let id = |id: Uuid| Some(Value::from(id.hyphenated().to_string()));
    for (name, value) in [
        ("iss", text(policy.issuer.as_deref())),
        ("aud", text(policy.audience.as_deref())),
        ("sub", text(Some(subject.user_id))),
        ("role", text(policy.role.as_deref())),
        ("session_id", id(subject.session_id)),
        ("client_id", text(subject.client_id)),
        ("scope", text(subject.scope)),
        ("iat", now.unix_seconds().map(Value::from)),
        ("exp", Some(expiry(policy, subject, now).into())),
        ("jti", id(jti)),
    ] {
        if let Some(value) = value {
            claims.insert(name.into(), value);
        }
    }
    claims
}

/// When the token of `claims`, to which a hook may have done anything, expires: never later than
/// [`claims`] said, so never later than its session. In seconds since 1970; the claim is set to it.
pub fn limit_expiry(
    claims: &mut Map<String, Value>,
    policy: &AccessPolicy,
    subject: &Subject<'_>,
    now: Timestamp,
) -> i64 {
    let limit = expiry(policy, subject, now);
    let asked = claims.get("exp").and_then(Value::as_i64);
    let expiry = asked.map_or(limit, |asked| asked.min(limit));
    claims.insert("exp".into(), expiry.into());
    expiry
}

fn expiry(policy: &AccessPolicy, subject: &Subject<'_>, now: Timestamp) -> i64 {
    let end = now.plus(policy.lifetime);
    let end = subject.session_expires_at.map_or(end, |last| last.min(end));
    end.unix_seconds().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_500_000);

    fn policy() -> AccessPolicy {
        AccessPolicy {
            issuer: Some("https://example.com".into()),
            audience: None,
            role: Some("authenticated".into()),
            lifetime: Micros::from_seconds(3600),
        }
    }

    fn subject(end: Option<i64>) -> Subject<'static> {
        Subject {
            user_id: "alice",
            session_id: Uuid::nil(),
            client_id: None,
            scope: Some("read"),
            session_expires_at: end.map(Timestamp),
        }
    }

    #[test]
    fn says_what_is_known_and_no_more() {
        let claims = claims(&policy(), &subject(None), Uuid::max(), NOW);
        let expected = serde_json::json!({
            "iss": "https://example.com",
            "sub": "alice",
            "role": "authenticated",
            "session_id": "00000000-0000-0000-0000-000000000000",
            "scope": "read",
            "iat": 946_684_801,
            "exp": 946_688_401,
            "jti": "ffffffff-ffff-ffff-ffff-ffffffffffff",
        });
        assert_eq!(Value::from(claims), expected);
    }

    #[test]
    fn expires_with_its_session() {
        let claims = claims(&policy(), &subject(Some(10_900_000)), Uuid::nil(), NOW);
        assert_eq!(claims["exp"], 946_684_810);
    }

    #[test]
    fn a_hook_may_shorten_a_life_and_not_lengthen_it() {
        let (policy, subject) = (policy(), subject(Some(10_900_000)));
        for (asked, expiry) in [
            (Some(Value::from(946_684_805)), 946_684_805),
            (Some(946_684_811.into()), 946_684_810),
            (Some(u64::MAX.into()), 946_684_810),
            (Some("never".into()), 946_684_810),
            (Some(Value::Null), 946_684_810),
            (None, 946_684_810),
        ] {
            let mut claims = Map::new();
            if let Some(asked) = asked {
                claims.insert("exp".into(), asked);
            }
            assert_eq!(limit_expiry(&mut claims, &policy, &subject, NOW), expiry);
            assert_eq!(claims["exp"], expiry);
        }
    }
}

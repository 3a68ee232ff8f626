//! What an access token says: the claims that PostgREST and other resource servers decide by (RFC 7519,
//! section 4.1; RFC 9068, section 2.2).

use crate::time::{Micros, Timestamp};
use serde_json::{Map, Value};
use thiserror::Error;
use uuid::Uuid;

/// The settings that access tokens are made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenSettings {
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
    /// When the refresh token that goes with it dies unless it is used, which is never later than the
    /// session's end.
    pub expires_at: Option<Timestamp>,
}

/// What is wrong with the claims that a hook has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HookFault {
    /// They are no claims at all.
    #[error("the function of refresh_tokens.access_token_hook must return a JSON object")]
    NoObject,
    /// More levels than a reader of JSON can be expected to follow.
    #[error(
        "the claims that the function of refresh_tokens.access_token_hook returns are nested too deeply"
    )]
    Depth,
    /// A number that no reader of JSON can be expected to hold.
    #[error(
        "the claims that the function of refresh_tokens.access_token_hook returns have a number that is too large"
    )]
    Number,
    /// A claim that is not the hook's to change, by its name.
    #[error("the function of refresh_tokens.access_token_hook must not change the claim {0}")]
    Fixed(&'static str),
    /// The end of the token's life, moved away.
    #[error(
        "the function of refresh_tokens.access_token_hook must not change the claim exp to anything but an earlier time"
    )]
    Expiry,
}

/// The claims that a hook can neither take away nor change: whose token it is, of which session and which
/// token. By them the end of a session reaches its access tokens.
const FIXED: [&str; 4] = ["sub", "session_id", "jti", "iat"];

/// The claims of a token that is issued at `now` with the name `jti`.
pub fn claims(
    policy: &AccessTokenSettings,
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

/// When the token of `claims` expires, in seconds since 1970.
pub fn expiry_of(claims: &Map<String, Value>) -> i64 {
    claims.get("exp").and_then(Value::as_i64).unwrap_or(0)
}

/// The claims that a hook has made of `claims`: `json` is its answer. Of an earlier `exp` the whole seconds
/// are taken.
///
/// # Errors
/// It is none that may be signed.
pub fn hooked(claims: &Map<String, Value>, json: &str) -> Result<Map<String, Value>, HookFault> {
    let mut hooked = parse(json)?;
    if let Some(changed) = FIXED
        .iter()
        .find(|name| hooked.get(**name) != claims.get(**name))
    {
        return Err(HookFault::Fixed(changed));
    }
    let exp = hooked.get("exp").and_then(Value::as_f64).map(f64::floor);
    let limit = expiry_of(claims);
    match exp {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a time in seconds has fewer than 53 bits"
        )]
        Some(exp) if exp <= limit as f64 => {
            // A time before all that can be told is one.
            #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
            hooked.insert("exp".into(), (exp as i64).into());
            Ok(hooked)
        }
        _ => Err(HookFault::Expiry),
    }
}

fn parse(json: &str) -> Result<Map<String, Value>, HookFault> {
    if !json.trim_start().starts_with('{') {
        return Err(HookFault::NoObject);
    }
    // PostgreSQL has read it as JSON already. So what this parser refuses is beyond one of its two limits.
    serde_json::from_str(json).map_err(|error| {
        match error.to_string().starts_with("recursion limit") {
            true => HookFault::Depth,
            false => HookFault::Number,
        }
    })
}

fn expiry(policy: &AccessTokenSettings, subject: &Subject<'_>, now: Timestamp) -> i64 {
    let end = now.plus(policy.lifetime);
    let end = subject.expires_at.map_or(end, |last| last.min(end));
    end.unix_seconds().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_500_000);

    fn policy() -> AccessTokenSettings {
        AccessTokenSettings {
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
            expires_at: end.map(Timestamp),
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
    fn expires_with_its_refresh_token() {
        let claims = claims(&policy(), &subject(Some(10_900_000)), Uuid::nil(), NOW);
        assert_eq!(claims["exp"], 946_684_810);
    }

    /// What a hook makes of claims that expire at 946684810.
    fn changed(change: impl FnOnce(&mut Map<String, Value>)) -> Result<i64, HookFault> {
        let claims = claims(&policy(), &subject(Some(10_900_000)), Uuid::nil(), NOW);
        let mut answer = claims.clone();
        change(&mut answer);
        let hooked = hooked(&claims, &Value::from(answer).to_string())?;
        assert!(hooked["exp"].is_i64());
        Ok(expiry_of(&hooked))
    }

    #[test]
    fn a_hook_may_shorten_a_life_and_not_lengthen_it() {
        for (asked, expiry) in [
            (Value::from(946_684_810), Some(946_684_810)),
            (946_684_805.into(), Some(946_684_805)),
            (946_684_805.75.into(), Some(946_684_805)),
            ((-1).into(), Some(-1)),
            ((-1e300).into(), Some(i64::MIN)),
            (946_684_811.into(), None),
            (u64::MAX.into(), None),
            (1e300.into(), None),
            ("946684805".into(), None),
            (Value::Null, None),
        ] {
            let found = changed(|claims| drop(claims.insert("exp".into(), asked.clone())));
            assert_eq!(found, expiry.ok_or(HookFault::Expiry), "{asked}");
        }
        let found = changed(|claims| drop(claims.remove("exp")));
        assert_eq!(found, Err(HookFault::Expiry));
    }

    #[test]
    fn a_hook_may_change_what_a_user_may_do_and_not_who_it_is() {
        for name in ["iss", "aud", "role", "client_id", "scope", "nbf", "plan"] {
            let found = changed(|claims| drop(claims.insert(name.into(), "x".into())));
            assert_eq!(found, Ok(946_684_810), "{name}");
            assert!(
                changed(|claims| drop(claims.remove(name))).is_ok(),
                "{name}"
            );
        }
        for name in FIXED {
            let fault = Err(HookFault::Fixed(name));
            assert_eq!(changed(|claims| drop(claims.remove(name))), fault);
            for value in [
                Value::Null,
                "x".into(),
                7.into(),
                serde_json::json!(["alice"]),
            ] {
                assert_eq!(
                    changed(|claims| drop(claims.insert(name.into(), value))),
                    fault
                );
            }
        }
    }

    #[test]
    fn an_answer_that_is_no_set_of_claims_is_called_what_it_is() {
        let deep = format!(r#"{{"x": {}{}}}"#, "[".repeat(200), "]".repeat(200));
        for (json, fault) in [
            ("", HookFault::NoObject),
            ("null", HookFault::NoObject),
            ("[]", HookFault::NoObject),
            (&deep, HookFault::Depth),
            (r#"{"x": 1e400}"#, HookFault::Number),
            ("{}", HookFault::Fixed("sub")),
        ] {
            let claims = claims(&policy(), &subject(None), Uuid::nil(), NOW);
            assert_eq!(hooked(&claims, json), Err(fault), "{json:.20}");
        }
    }
}

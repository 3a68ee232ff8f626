//! Who makes the request: PostgREST's verification of an access token.
//!
//! PostgREST's documentation, page "Authentication": "JWT Signature Verification" and "`kid` verification",
//! "JWT Claims Validation", "JWT Role Extraction"; page "Errors", group 3. RSA and the longer hashes are
//! left out, for nothing here signs with them. The cryptography is another library's than the extension's.

use super::config::Config;
use super::http::Request;
use super::refusal::Refusal;
use data_encoding::BASE64URL_NOPAD;
use ring::{hmac, signature};
use serde_json::{Map, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much clocks may differ.
const SKEW: i64 = 30;

/// As whom the request is made.
pub struct Caller {
    /// The database role.
    pub role: String,
    /// Whether that is the role of those who have no token.
    pub is_anonymous: bool,
    /// The claims, with the role among them.
    pub claims: Map<String, Value>,
}

/// Finds out who makes the request.
///
/// # Errors
/// PGRST300 to 303.
pub fn authenticate(config: &Config, request: &Request) -> Result<Caller, Refusal> {
    let mut claims = match bearer(request) {
        None => Map::new(),
        Some(token) => {
            let secret = config.optional("jwt-secret");
            let secret =
                secret.ok_or_else(|| Refusal::new(500, "PGRST300", "Server lacks JWT secret"))?;
            let claims = verify(token, &keys(secret))?;
            validate(&claims, config.optional("jwt-aud"))?;
            claims
        }
    };
    let named = role(&claims);
    let anonymous = config.optional("db-anon-role");
    let role = named.or_else(|| anonymous.map(str::to_owned));
    let role = role.ok_or_else(|| {
        let refusal = Refusal::new(401, "PGRST302", "Anonymous access is disabled");
        refusal.header("WWW-Authenticate", "Bearer")
    })?;
    claims.insert("role".to_owned(), Value::String(role.clone()));
    Ok(Caller {
        is_anonymous: anonymous == Some(role.as_str()),
        role,
        claims,
    })
}

/// The token of an Authorization header of the scheme Bearer. Another scheme is no matter of PostgREST's.
fn bearer(request: &Request) -> Option<&str> {
    let value = request.header_value("authorization")?;
    let (scheme, token) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// The keys of a `jwt-secret`.
fn keys(secret: &str) -> Vec<Value> {
    let passphrase = || {
        let key = BASE64URL_NOPAD.encode(secret.as_bytes());
        vec![serde_json::json!({"kty": "oct", "k": key})]
    };
    match serde_json::from_str::<Value>(secret) {
        Ok(Value::Object(key)) => match key.get("keys") {
            Some(Value::Array(keys)) => keys.clone(),
            _ => vec![Value::Object(key)],
        },
        _ => passphrase(),
    }
}

fn undecodable(message: &str) -> Refusal {
    invalid("PGRST301", message)
}

fn invalid(code: &str, message: &str) -> Refusal {
    let value = format!("Bearer error=\"invalid_token\", error_description=\"{message}\"");
    Refusal::new(401, code, message).header("WWW-Authenticate", value)
}

fn verify(token: &str, keys: &[Value]) -> Result<Map<String, Value>, Refusal> {
    if token.is_empty() {
        return Err(undecodable("Empty JWT is sent in Authorization header"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(undecodable(&format!(
            "Expected 3 parts in JWT; got {}",
            parts.len()
        )));
    };
    let failed = || undecodable("JWT cryptographic operation failed");
    let decode = |part: &str| {
        BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map_err(|_| failed())
    };
    let object = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes);

    let decoded = object(&decode(header)?).map_err(|_| failed())?;
    let algorithm = decoded
        .get("alg")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key_type = match algorithm {
        "HS256" => "oct",
        "ES256" => "EC",
        "EdDSA" => "OKP",
        _ => return Err(undecodable("Wrong or unsupported encoding algorithm")),
    };
    let usable = |key: &&Value| {
        let matches = |name: &str, value: &str| key.get(name).is_none_or(|found| found == value);
        let kid = decoded
            .get("kid")
            .is_none_or(|kid| key.get("kid") == Some(kid));
        kid && key.get("kty").is_some_and(|kty| kty == key_type)
            && matches("alg", algorithm)
            && matches("use", "sig")
    };
    let mut usable = keys.iter().filter(usable).peekable();
    if usable.peek().is_none() {
        return Err(undecodable("No suitable key or wrong key type"));
    }
    let message = format!("{header}.{claims}");
    let signature = decode(signature)?;
    if !usable.any(|key| signed(key, algorithm, message.as_bytes(), &signature)) {
        return Err(failed());
    }
    object(&decode(claims)?).map_err(|_| invalid("PGRST303", "Parsing claims failed"))
}

fn signed(key: &Value, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| {
        let text = key.get(name).and_then(Value::as_str)?;
        BASE64URL_NOPAD.decode(text.as_bytes()).ok()
    };
    let public = |verification, point: Vec<u8>| {
        let key = signature::UnparsedPublicKey::new(verification, point);
        key.verify(message, signature).is_ok()
    };
    match algorithm {
        "HS256" => member("k").is_some_and(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            hmac::verify(&key, message, signature).is_ok()
        }),
        "ES256" => (member("x").zip(member("y"))).is_some_and(|(x, y)| {
            let verification: &dyn signature::VerificationAlgorithm =
                &signature::ECDSA_P256_SHA256_FIXED;
            public(verification, [&[4], &x[..], &y[..]].concat())
        }),
        _ => member("x").is_some_and(|x| {
            let verification: &dyn signature::VerificationAlgorithm = &signature::ED25519;
            public(verification, x)
        }),
    }
}

fn validate(claims: &Map<String, Value>, audience: Option<&str>) -> Result<(), Refusal> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the end of time");
    let wrong = |message: &str| Err(invalid("PGRST303", message));
    let present = |name: &str| claims.get(name).filter(|value| !value.is_null());
    for (name, message) in [
        ("exp", "JWT expired"),
        ("nbf", "JWT not yet valid"),
        ("iat", "JWT issued at future"),
    ] {
        let Some(value) = present(name) else { continue };
        let Some(time) = value.as_f64() else {
            return wrong(&format!("The JWT '{name}' claim must be a number"));
        };
        // A time that is no whole number counts as 0 with PostgREST.
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of seconds")]
        let time = if time.fract() == 0.0 { time as i64 } else { 0 };
        let past = name == "exp" && now - SKEW > time;
        let future = name != "exp" && now + SKEW < time;
        if past || future {
            return wrong(message);
        }
    }
    let Some((wanted, found)) = audience.zip(present("aud")) else {
        return Ok(());
    };
    let strings = |list: &[Value]| list.iter().all(Value::is_string);
    match found {
        Value::String(found) if found == wanted => Ok(()),
        Value::Array(list)
            if list.is_empty() || strings(list) && list.iter().any(|one| one == wanted) =>
        {
            Ok(())
        }
        Value::String(_) => wrong("JWT not in audience"),
        Value::Array(list) if strings(list) => wrong("JWT not in audience"),
        _ => wrong("The JWT 'aud' claim must be a string or an array of strings"),
    }
}

/// The role that the claims name.
fn role(claims: &Map<String, Value>) -> Option<String> {
    let found = claims.get("role")?;
    Some(
        found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_owned),
    )
}

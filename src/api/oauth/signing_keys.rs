use crate::api::argument;
use crate::error::Error;
use crate::random::{random, random_uuid};
use crate::store;
use pgrx::JsonB;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use refresh_tokens_core::oauth::signing::{Alg, MIN_SECRET_LEN, SigningKey};

/// The public keys that access tokens are verified with, as a JSON Web Key Set (RFC 7517, section 5).
///
/// Takes nothing. Returns the key that signs, keys that will, and those that have signed what may still
/// be good: a key stays for a day after another one has taken its place. A secret for HS256 is never
/// shown. Works on a standby and in a read-only transaction.
///
/// # Errors
/// 55000: a row of `auth.signing_keys` was written by hand and holds no key.
#[pg_extern(security_definer, stable)]
#[search_path(pg_catalog, pg_temp)]
pub fn jwks() -> Result<JsonB, ErrorReport> {
    let public = store::read(|store| Ok(store.signing_keys()?.public_set(store::now())?));
    Ok(JsonB(public?))
}

/// Makes a key that signs access tokens from `active_at` on; the one before it verifies for one more day.
///
/// Takes the algorithm, `ES256`, `EdDSA` or `HS256`; when the key begins to sign (NULL or a time that is
/// past: now), which gives verifiers time to fetch it from `auth.jwks()`; and for HS256 the secret, of
/// 32 bytes or more, that the verifiers have already (NULL: a fresh one). Returns the key's name, `kid`.
/// Keys that verify nothing any more are deleted.
///
/// # Errors
/// 22023 for another algorithm, for a secret that is too short, and for one with another algorithm than
/// HS256; 25006 in a read-only transaction.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rotate_signing_key(
    alg: default!(Option<&str>, "'ES256'"),
    active_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    secret: default!(Option<&str>, "NULL"),
) -> Result<pgrx::Uuid, ErrorReport> {
    let alg: Alg = alg.and_then(|label| label.parse().ok()).ok_or(Error::Alg)?;
    if secret.is_some_and(|secret| alg != Alg::Hs256 || secret.len() < MIN_SECRET_LEN) {
        return Err(Error::Secret.into());
    }
    let kid = store::write(|store| {
        let now = store::now();
        let active_at = argument::timestamp(active_at).map_or(now, |at| at.max(now));
        let kid = random_uuid()?;
        let key = match secret {
            Some(secret) => SigningKey::of(kid, alg, active_at, secret.into()),
            None => SigningKey::generate(kid, alg, active_at, random)?,
        };
        store.add_signing_key(&key, now)?;
        Ok(kid)
    })?;
    Ok(pgrx::Uuid::from_bytes(kid.into_bytes()))
}

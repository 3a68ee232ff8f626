//! Signing access tokens: keys, JSON Web Tokens (RFC 7519) and JSON Web Key Sets (RFC 7517).
//!
//! How a token is encoded, signed and verified is the crate `jsonwebtoken`'s; which key signs and which
//! still verify is decided here.

use crate::label::Label;
use crate::time::{Micros, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};
use std::fmt;
use strum::{EnumString, IntoStaticStr};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The longest life of an access token. So a key verifies for so long after another one has taken its
/// place, whatever the settings were when a token was signed.
pub const MAX_LIFETIME_SECONDS: i32 = 86_400;

/// The least length of a secret for HS256 in bytes (RFC 7518, section 3.2).
pub const MIN_SECRET_LEN: usize = 32;

/// The length in bytes of a secret that is made here, for any algorithm.
pub const SIGNING_SECRET_LEN: usize = 32;

/// How a key signs; the labels are those of RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
pub enum Alg {
    /// HMAC with SHA-256: whoever verifies can sign.
    #[strum(serialize = "HS256")]
    Hs256,
    /// ECDSA with P-256 and SHA-256.
    #[strum(serialize = "ES256")]
    Es256,
    /// EdDSA with Ed25519.
    #[strum(serialize = "EdDSA")]
    EdDsa,
}

impl Alg {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A row of `auth.signing_keys`.
#[derive(Clone)]
pub struct SigningKey {
    /// Its name in the table, in key sets, and in the tokens of a key that is published.
    pub kid: Uuid,
    /// From when on it signs.
    pub active_at: Timestamp,
    alg: Alg,
    secret: Zeroizing<Vec<u8>>,
}

/// A key that can't be used: its row was written by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unusable signing key")]
pub struct UnusableKey;

impl SigningKey {
    /// A fresh key, which signs from `active_at` on. `random` gives bytes that nobody can foretell.
    ///
    /// # Errors
    /// Those of `random`.
    pub fn generate<E>(
        kid: Uuid,
        alg: Alg,
        active_at: Timestamp,
        mut random: impl FnMut() -> Result<Zeroizing<[u8; SIGNING_SECRET_LEN]>, E>,
    ) -> Result<Self, E> {
        loop {
            let key = Self::of(kid, alg, active_at, random()?.to_vec());
            // One in 2^32 strings is no private key for P-256.
            if key.encoding().is_ok() {
                return Ok(key);
            }
        }
    }

    /// A key of `secret`, which must be as long as the algorithm asks for.
    pub fn of(kid: Uuid, alg: Alg, active_at: Timestamp, secret: Vec<u8>) -> Self {
        Self {
            kid,
            active_at,
            alg,
            secret: Zeroizing::new(secret),
        }
    }

    /// The key of a row's columns.
    ///
    /// # Errors
    /// They don't hold one.
    pub fn from_columns(
        kid: Uuid,
        alg: &str,
        active_at: Timestamp,
        private_key: &str,
    ) -> Result<Self, UnusableKey> {
        let alg: Alg = alg.parse().map_err(|_| UnusableKey)?;
        let secret = BASE64URL_NOPAD.decode(private_key.as_bytes());
        let key = Self::of(kid, alg, active_at, secret.map_err(|_| UnusableKey)?);
        if alg == Alg::Hs256 && key.secret.len() < MIN_SECRET_LEN {
            return Err(UnusableKey);
        }
        Ok(key)
    }

    /// The value of the column `private_key`.
    pub fn to_column(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(&self.secret))
    }

    /// The value of the column `alg`.
    pub fn alg(&self) -> &'static str {
        self.alg.label()
    }

    /// A signed token of `claims` (RFC 7519).
    ///
    /// # Errors
    /// The key can't sign.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, UnusableKey> {
        let header = Header {
            kid: self.name_in_tokens(),
            ..Header::new(self.alg.algorithm())
        };
        jsonwebtoken::encode(&header, claims, &self.encoding()?).map_err(|_| UnusableKey)
    }

    fn name(&self) -> String {
        self.kid.hyphenated().to_string()
    }

    /// Its name, where it is published. A secret is not: whoever verifies with one has it as a passphrase, which
    /// has no name, and PostgREST from version 13 on refuses a token that names a key which it doesn't know.
    fn name_in_tokens(&self) -> Option<String> {
        (self.alg != Alg::Hs256).then(|| self.name())
    }

    /// The claims of `token`, if this key has signed it.
    fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        let public = DecodingKey::from_jwk(&self.public().ok()?).ok()?;
        // The algorithm is the key's, never what the token says (RFC 8725, section 3.1). The expiry is for the
        // caller, who has the call's one time.
        let mut validation = Validation::new(self.alg.algorithm());
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        let token = jsonwebtoken::decode(token, &public, &validation);
        Some(token.ok()?.claims)
    }

    /// The key that signs, as the crate takes it: as a PKCS #8 document, but for HS256.
    fn encoding(&self) -> Result<EncodingKey, UnusableKey> {
        let secret = self.secret.as_slice();
        match self.alg {
            Alg::Hs256 => Ok(EncodingKey::from_secret(secret)),
            Alg::Es256 => {
                let key = p256::SecretKey::from_slice(secret).map_err(|_| UnusableKey)?;
                let document = key.to_pkcs8_der().map_err(|_| UnusableKey)?;
                Ok(EncodingKey::from_ec_der(document.as_bytes()))
            }
            Alg::EdDsa => {
                let secret_key = secret.try_into().map_err(|_| UnusableKey)?;
                // Without the public key: the crate takes version 1 of the document (RFC 8410, section 7).
                let key = KeypairBytes {
                    secret_key,
                    public_key: None,
                };
                let document = key.to_pkcs8_der().map_err(|_| UnusableKey)?;
                Ok(EncodingKey::from_ed_der(document.as_bytes()))
            }
        }
    }

    /// The key that verifies: the public one, but for HS256.
    fn public(&self) -> Result<Jwk, UnusableKey> {
        let mut jwk = Jwk::from_encoding_key(&self.encoding()?, self.alg.algorithm())
            .map_err(|_| UnusableKey)?;
        jwk.common.key_id = Some(self.name());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(jwk)
    }
}

/// Shows which key it is, and nothing of it: a key belongs in no log.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// All keys, the one that signs from the latest time on first.
pub struct KeyRing(Vec<SigningKey>);

impl KeyRing {
    /// The keys of a table's rows, in any order.
    pub fn new(mut keys: Vec<SigningKey>) -> Self {
        keys.sort_by_key(|key| std::cmp::Reverse(key.active_at));
        Self(keys)
    }

    /// The key that signs at `now`.
    pub fn signing(&self, now: Timestamp) -> Option<&SigningKey> {
        self.0.iter().find(|key| key.active_at <= now)
    }

    /// The keys that may still have to verify a token, or may have to soon.
    pub fn verifying(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> {
        self.0[..self.needed(now)].iter()
    }

    /// The keys that verify nothing any more.
    pub fn retired(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> {
        self.0[self.needed(now)..].iter()
    }

    /// How many keys, from the first on, are needed at `now`: those whose successor has not signed for so long that
    /// whatever they have signed has expired. The first one has no successor.
    fn needed(&self, now: Timestamp) -> usize {
        let overlap = Micros::from_seconds(MAX_LIFETIME_SECONDS);
        let is_recent = |successor: &SigningKey| now < successor.active_at.plus(overlap);
        let recent = self.0.partition_point(is_recent);
        self.0.len().min(recent + 1)
    }

    /// The public keys (RFC 7517, section 5). A secret for HS256 is none.
    ///
    /// # Errors
    /// A row holds no key.
    pub fn public_set(&self, now: Timestamp) -> Result<Value, UnusableKey> {
        let public = self.verifying(now).filter(|key| key.alg != Alg::Hs256);
        let keys: Vec<_> = public.map(SigningKey::public).collect::<Result<_, _>>()?;
        Ok(serde_json::json!({ "keys": keys }))
    }

    /// The claims of `token`, if one of these keys has signed it, it has not expired, and it is valid by now (RFC
    /// 7519, sections 4.1.4 and 4.1.5).
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Map<String, Value>> {
        let named = jsonwebtoken::decode_header(token).ok()?.kid;
        let mut keys = self
            .verifying(now)
            .filter(|key| key.name_in_tokens() == named);
        let claims = keys.find_map(|key| key.claims(token))?;
        let (now, exp) = (now.numeric_date()?, claims.get("exp")?.as_f64()?);
        // A time that is there and can't be read is one that has not come.
        let is_valid_by_now = match claims.get("nbf") {
            None => true,
            Some(nbf) => nbf.as_f64().is_some_and(|nbf| nbf <= now),
        };
        (is_valid_by_now && now < exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests;

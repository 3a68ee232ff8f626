//! The derivation key: how a retry gets the same child again although only digests are stored.

use super::digest::Digest;
use super::token::{SECRET_LEN, Token};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// Separates this use of HMAC from any other that the same key could be put to.
const DOMAIN: &[u8] = b"pgrt_child_v1:";

/// The length of a derivation key in bytes.
pub const DERIVATION_KEY_LEN: usize = 32;
const COLUMN_LEN: usize = 43;

/// How many generations a retry is followed at the most. An honest client doesn't fall this far
/// behind within `reuse_interval`; the bound keeps a call's work small whatever a row says.
const MAX_GENERATIONS: i64 = 4096;

/// The key that the children of a session are derived with: 32 random bytes, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct DerivationKey(Zeroizing<[u8; DERIVATION_KEY_LEN]>);

impl DerivationKey {
    /// The key of these bytes, which are fresh from the operating system's generator.
    pub fn new(random: Zeroizing<[u8; DERIVATION_KEY_LEN]>) -> Self {
        Self(random)
    }

    /// The key in `auth.sessions.refresh_token_hmac_key`, or none if the column holds no key of ours.
    pub fn from_column(text: &str) -> Option<Self> {
        let mut key = Zeroizing::new([0; DERIVATION_KEY_LEN]);
        if text.len() != COLUMN_LEN {
            return None;
        }
        BASE64URL_NOPAD
            .decode_mut(text.as_bytes(), key.as_mut_slice())
            .ok()?;
        Some(Self(key))
    }

    /// The key as `auth.sessions.refresh_token_hmac_key` holds it: base64url without padding.
    pub fn to_column(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL_NOPAD.encode(self.0.as_slice()))
    }

    /// The child that replaces `parent`: its secret is a MAC of the parent's text, so the same parent and the same
    /// key give the same child, and neither alone gives any.
    pub fn child_of(&self, parent: &Token) -> Token {
        Token::new(parent.slot(), &self.child_secret(parent))
    }

    /// HMAC-SHA-256 over the domain and the parent's text.
    fn child_secret(&self, parent: &Token) -> Zeroizing<[u8; SECRET_LEN]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice())
            .expect("HMAC takes a key of any length");
        mac.update(DOMAIN);
        mac.update(parent.as_str().as_bytes());
        let mut output = mac.finalize().into_bytes();
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        secret.copy_from_slice(&output);
        output.as_mut_slice().zeroize();
        secret
    }
}

/// Shows that there is a key, and nothing of it.
impl fmt::Debug for DerivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivationKey(..)")
    }
}

/// The way from a presented token down to the live one.
pub struct Descent {
    /// The live token.
    pub token: Token,
    /// The digests passed on the way, the live token's last. Each must be a row of the session.
    pub digests: Vec<Digest>,
}

/// Derives forward from `presented`, child by child, to the token whose digest is `live`.
///
/// `rotations` is how often the session was rotated: no way can be longer. None: the live token
/// does not descend from `presented` under this key, so it was issued and not rotated to.
pub fn descend(
    presented: &Token,
    key: &DerivationKey,
    live: &str,
    rotations: i64,
) -> Option<Descent> {
    let mut digests = Vec::with_capacity(1);
    let mut token = presented.clone();
    for _ in 0..rotations.min(MAX_GENERATIONS) {
        token = key.child_of(&token);
        let digest = token.digest();
        digests.push(digest);
        if digest.as_str() == live {
            return Some(Descent { token, digests });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Slot;
    use uuid::Uuid;

    fn derivation_key(byte: u8) -> DerivationKey {
        DerivationKey::new([byte; DERIVATION_KEY_LEN].into())
    }

    fn first() -> Token {
        Token::new(Slot::of(Uuid::nil()), &[7; SECRET_LEN])
    }

    #[test]
    fn a_key_survives_its_column() {
        let key = derivation_key(1);
        assert_eq!(key.to_column().len(), COLUMN_LEN);
        assert_eq!(DerivationKey::from_column(&key.to_column()), Some(key));
    }

    #[test]
    fn a_foreign_column_is_no_key() {
        for text in [
            "",
            "short",
            "{\"key_id\":\"a\"}",
            &"é".repeat(22),
            &"=".repeat(43),
        ] {
            assert_eq!(DerivationKey::from_column(text), None);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", derivation_key(1)), "DerivationKey(..)");
    }

    #[test]
    fn descends_generation_by_generation() {
        let key = derivation_key(1);
        let child = key.child_of(&first());
        let grandchild = key.child_of(&child);
        let live = grandchild.digest();
        let descent = descend(&first(), &key, live.as_str(), 2).unwrap();
        assert_eq!(descent.token.as_str(), grandchild.as_str());
        assert_eq!(descent.digests, [child.digest(), live]);
    }

    #[test]
    fn finds_no_stranger() {
        let key = derivation_key(1);
        let other = derivation_key(2);
        let live = key.child_of(&first()).digest();
        assert!(descend(&first(), &other, live.as_str(), 3).is_none());
        assert!(descend(&first(), &key, first().digest().as_str(), 3).is_none());
        assert!(descend(&first(), &key, live.as_str(), 0).is_none());
        assert!(descend(&first(), &key, live.as_str(), i64::MIN).is_none());
    }

    #[test]
    fn a_way_too_long_is_given_up() {
        let key = derivation_key(1);
        assert!(descend(&first(), &key, "nobody", i64::MAX).is_none());
    }
}

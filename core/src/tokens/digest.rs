//! What the tables keep of a token.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The length of a digest in characters.
pub const DIGEST_LEN: usize = 43;

/// SHA-256 of a whole token string, base64url without padding (docs/design.md#token).
///
/// A token carries 256 random bits, so a plain hash is enough: there is nothing to guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; DIGEST_LEN]);

impl Digest {
    /// The digest of `text`, which is a token.
    pub fn of(text: &str) -> Self {
        let mut out = [0; DIGEST_LEN];
        BASE64URL_NOPAD.encode_mut(&Sha256::digest(text.as_bytes()), &mut out);
        Self(out)
    }

    /// The digest in a column; none if it has another length than one.
    pub fn from_column(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    /// The digest as the tables' columns `token` and `parent` hold it.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }
}

/// Shows that there is a digest, and nothing of it: a digest belongs in no log.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vector() {
        // printf abc | openssl dgst -sha256 -binary | basenc --base64url
        assert_eq!(
            Digest::of("abc").as_str(),
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
        );
    }

    #[test]
    fn survives_its_column() {
        let digest = Digest::of("abc");
        assert!(Digest::from_column(digest.as_str()) == Some(digest));
        assert!(Digest::from_column("abc").is_none());
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Digest::of("abc")), "Digest(..)");
    }
}

//! The token: the secret string that a client holds (docs/design.md#token).
//!
//! `pgrt_`, then 39 bytes in lower-case base32: version · slot · secret · CRC-32. The checksum is no
//! protection against a forger, who must guess 256 bits; it lets a mistyped or made-up string be
//! refused without touching a table, and secret scanners tell a token from noise.

use super::digest::Digest;
use data_encoding::{Encoding, Specification};
use std::fmt;
use std::sync::LazyLock;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The length of a token in characters.
pub const TOKEN_LEN: usize = 68;
/// The length of a token's secret in bytes.
pub const SECRET_LEN: usize = 32;

/// What every token begins with.
pub const PREFIX: &str = "pgrt_";
const VERSION: u8 = 1;
/// version (1) · slot (2) · secret (32) · CRC-32 (4)
const BODY_LEN: usize = 1 + 2 + SECRET_LEN + 4;
const CRC_AT: usize = BODY_LEN - 4;

/// The alphabet of RFC 4648, section 6, in lower case and without padding. It refuses what isn't the
/// one spelling of its bytes: capitals, padding, and bits left over in the last character.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().expect("a valid base32 alphabet")
});

/// The last two bytes of a session id. Every token of the session carries them, so that a router can
/// send a token to its shard without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot([u8; 2]);

impl Slot {
    /// The slot of the session `id`.
    pub fn of(id: Uuid) -> Self {
        let [.., a, b] = *id.as_bytes();
        Self([a, b])
    }

    /// `id` with its last two bytes replaced by this slot.
    pub fn stamp(self, id: Uuid) -> Uuid {
        let mut bytes = id.into_bytes();
        bytes[14..].copy_from_slice(&self.0);
        Uuid::from_bytes(bytes)
    }
}

/// A well-formed token. Its text is wiped when it is dropped.
#[derive(Clone)]
pub struct Token {
    text: Zeroizing<[u8; TOKEN_LEN]>,
    slot: Slot,
}

impl Token {
    /// Reads `text`, or gives none if it is not, to the letter, a token of this format.
    pub fn parse(text: &str) -> Option<Self> {
        let mut token = Zeroizing::new([0; TOKEN_LEN]);
        if text.len() != TOKEN_LEN {
            return None;
        }
        token.copy_from_slice(text.as_bytes());
        let encoded = text.as_bytes().strip_prefix(PREFIX.as_bytes())?;
        let mut body = Zeroizing::new([0; BODY_LEN]);
        BASE32.decode_mut(encoded, body.as_mut_slice()).ok()?;
        let (payload, crc) = body.split_at(CRC_AT);
        let [VERSION, a, b, ..] = *payload else {
            return None;
        };
        (crc == checksum(payload)).then_some(Self {
            text: token,
            slot: Slot([a, b]),
        })
    }

    /// The token of `slot` with `secret`: of a family's first token fresh from the operating system's generator.
    pub fn new(slot: Slot, secret: &[u8; SECRET_LEN]) -> Self {
        let mut body = Zeroizing::new([0; BODY_LEN]);
        body[0] = VERSION;
        body[1..3].copy_from_slice(&slot.0);
        body[3..CRC_AT].copy_from_slice(secret);
        let crc = checksum(&body[..CRC_AT]);
        body[CRC_AT..].copy_from_slice(&crc);

        let mut text = Zeroizing::new([0; TOKEN_LEN]);
        let (prefix, encoded) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        BASE32.encode_mut(body.as_slice(), encoded);
        Self { text, slot }
    }

    /// What the tables keep of this token.
    pub fn digest(&self) -> Digest {
        Digest::of(self.as_str())
    }

    /// The slot of the session that this token belongs to.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The token itself. It goes to the client and nowhere else.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.text.as_slice()).expect("a token is ASCII")
    }
}

/// Shows that there is a token, and nothing of it: a token belongs in no log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// CRC-32 (ISO-HDLC) of the prefix and `payload`, big-endian.
fn checksum(payload: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(PREFIX.as_bytes());
    crc.update(payload);
    crc.finalize().to_be_bytes()
}

#[cfg(test)]
mod tests;

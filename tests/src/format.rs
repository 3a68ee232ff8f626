//! The token's format once more, written from its description alone: what another implementation
//! would do. Nothing here is shared with the extension.

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "pgrt_";

fn base32() -> Encoding {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("a valid alphabet")
}

/// The bytes behind a token: version, slot (2), secret (32), CRC-32 (4).
///
/// # Panics
/// It isn't spelled as a token.
pub fn decode(token: &str) -> Vec<u8> {
    let encoded = token.strip_prefix(PREFIX).expect("a token has its prefix");
    base32().decode(encoded.as_bytes()).expect("base32")
}

/// `bytes` spelled as a token, right or wrong.
pub fn encode(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", base32().encode(bytes))
}

/// A token with these bytes and the checksum that belongs to them.
pub fn mint(version: u8, slot: [u8; 2], secret: [u8; 32]) -> String {
    let mut bytes = vec![version];
    bytes.extend(slot);
    bytes.extend(secret);
    let crc = crc32fast::hash(&[PREFIX.as_bytes(), &bytes].concat());
    bytes.extend(crc.to_be_bytes());
    encode(&bytes)
}

/// A token that nobody issued: another one each time. Which one it is decides nothing, so its bytes have no seed.
pub fn unknown_token() -> String {
    unknown_token_in([0, 0])
}

/// As [`unknown_token`], with this slot.
pub fn unknown_token_in(slot: [u8; 2]) -> String {
    mint(1, slot, std::array::from_fn(|_| fastrand::u8(..)))
}

/// What the tables hold of `token`.
pub fn digest(token: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(token))
}

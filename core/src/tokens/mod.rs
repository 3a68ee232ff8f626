//! Tokens: the string that a client holds, the digest that the tables hold, and the derivation of a child.

mod derivation;
mod digest;
mod token;

pub use derivation::{DERIVATION_KEY_LEN, DerivationKey, Descent, descend};
pub use digest::{DIGEST_LEN, Digest};
pub use token::{PREFIX, SECRET_LEN, Slot, TOKEN_LEN, Token};

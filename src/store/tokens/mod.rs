//! Tokens and their families: issued, looked up, locked, rotated, revoked.

mod family;
mod issue;
mod lookup;
mod orphan_family;
mod reuse;
mod rotate;

pub use issue::NewSession;
pub use lookup::{Family, Lookup};
pub use reuse::DetectedReuse;
pub use rotate::Caller;

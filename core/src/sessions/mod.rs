//! Sessions: when one ends, by the settings, and how long what is over is kept.

mod allowance;
mod policy;
mod retention;
mod session;

pub use allowance::{Allowance, Limit};
pub use policy::{Policy, ReuseAction, Window};
pub use retention::{Horizon, Retention};
pub use session::{Expiry, Session};

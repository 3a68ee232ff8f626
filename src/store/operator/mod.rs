//! What operators need: events, figures, purge.

mod events;
mod purge;
mod references;
mod stats;

pub use purge::purge_due;
pub use references::{Kept, kept_sessions};

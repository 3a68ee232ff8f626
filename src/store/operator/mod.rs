//! What operators need: events, figures, purge.

mod events;
mod purge;
mod stats;

pub use purge::purge_due;

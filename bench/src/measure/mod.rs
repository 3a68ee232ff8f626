//! What is measured, one thing a file, each a loop of interleaved rounds.

mod caller;
mod calls;
mod costs;
mod families;
mod memory;
mod peers;
mod policy;
mod refusals;
mod scale;
mod throughput;
mod users;

pub use calls::calls;
pub use costs::costs;
pub use families::families;
pub use memory::memory;
pub use peers::peers;
pub use policy::policy;
pub use refusals::refusals;
pub use scale::scale;
pub use throughput::throughput;
pub use users::users;

use std::time::Duration;

/// Microseconds of each of `count`, of which all took `time`.
fn microseconds(time: Duration, count: f64) -> f64 {
    time.as_secs_f64() * 1e6 / count
}

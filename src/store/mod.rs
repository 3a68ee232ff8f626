//! What the extension reads and writes: the only module that speaks SPI.
//!
//! Each function runs one statement of `store/*.sql`, whose head says what it does; those that rotate a live
//! token have a shortcut, [`fast_path`]. The order of a call is always the same: lock the session, take the
//! time, read, decide, write.

mod chain;
mod events;
mod family;
mod fast_path;
mod hook;
mod issue;
mod keys;
mod latest;
mod ownership;
mod plan;
mod present;
mod purge;
mod reuse;
mod row;
mod sessions;
mod stats;
mod unlogged;

use crate::error::{Error, without_rows};
use crate::time::Timestamp;
use pgrx::spi::SpiClient;
use pgrx::{Spi, pg_sys};

pub use chain::Chain;
pub use issue::NewSession;
pub use present::{Caller, Claim, Held};
pub use reuse::DetectedReuse;
pub use sessions::Device;

/// One connection to SPI, for the length of one call.
pub struct Store<'c> {
    client: &'c SpiClient<'c>,
}

/// Runs `f`, which only reads: on a standby and in a read-only transaction too.
pub fn read<R>(f: impl FnOnce(&Store<'_>) -> Result<R, Error>) -> Result<R, Error> {
    without_rows(|| Spi::connect(|client| f(&Store { client })))
}

/// Runs `f`, which locks and writes.
///
/// # Errors
/// 25006 in a read-only transaction, so on a standby; nothing has been read then.
pub fn write<R>(f: impl FnOnce(&Store<'_>) -> Result<R, Error>) -> Result<R, Error> {
    // SAFETY: a plain variable of the backend that only its one thread reads and writes.
    if unsafe { pg_sys::XactReadOnly } {
        return Err(Error::ReadOnly);
    }
    without_rows(|| Spi::connect(|client| f(&Store { client })))
}

/// The time, as `clock_timestamp()` gives it.
pub fn now() -> Timestamp {
    // SAFETY: reads the clock; takes and keeps nothing.
    Timestamp(unsafe { pg_sys::GetCurrentTimestamp() })
}

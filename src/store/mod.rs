//! What the extension reads and writes: the only module that speaks SPI.
//!
//! Each function runs one statement, a `.sql` file beside it, whose head says what it does. [`fast_path`] rotates a live
//! token without statements. The order of a call is always the same: lock the session, take the time, read, decide,
//! write (docs/design.md#order-of-locks).

mod acting_as;
mod fast_path;
mod limits;
mod oauth;
mod operator;
mod ownership;
mod plan;
mod row;
mod scoped_setting;
mod sessions;
mod snapshot;
mod tokens;
mod unlogged;

use crate::error::{Error, without_rows};
use pgrx::spi::SpiClient;
use pgrx::{Spi, pg_sys};
use refresh_tokens_core::time::Timestamp;

pub use operator::{Kept, kept_sessions, purge_due};
pub use sessions::Device;
pub use tokens::{Caller, DetectedReuse, Family, Lookup, NewSession};

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

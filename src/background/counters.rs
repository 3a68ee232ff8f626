//! How often each status was answered since the server's start: in shared memory, without a lock.
//!
//! They are there only if the library is preloaded. They count answers, in all databases; like the
//! server's own statistics, also those of transactions that were rolled back.

use crate::store;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};
use refresh_tokens_core::label::Label;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::{Event, Status};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use strum::VariantArray;

/// The statuses in the order of `auth.refresh_token_status`.
const STATUSES: &[Status] = Status::VARIANTS;

#[derive(Default)]
struct Counters {
    answers: [AtomicU64; STATUSES.len()],
    failed_authentications: AtomicU64,
    reset_at: AtomicI64,
}

impl Counters {
    /// Each count and what it counts: a status, or the answer to a client that nobody gets to a token by.
    fn labelled(&self) -> impl Iterator<Item = (&'static str, &AtomicU64)> {
        let statuses = STATUSES.iter().map(|status| status.label());
        let failed = Event::ClientAuthenticationFailed.label();
        let more = [(failed, &self.failed_authentications)];
        statuses.zip(&self.answers).chain(more)
    }
}

// SAFETY: atomics alone, which every process may use at the same address or another.
unsafe impl PGRXSharedMemory for Counters {}

// SAFETY: the name is the extension's own.
static COUNTERS: PgAtomic<Counters> = unsafe { PgAtomic::new(c"refresh_tokens counters") };

/// Set in the postmaster, and so in every process that it forks.
static ARE_THERE: OnceLock<()> = OnceLock::new();

/// Asks for the shared memory; called while libraries are preloaded.
#[allow(
    unexpected_cfgs,
    reason = "the macro asks for versions of PostgreSQL that this crate has no feature for"
)]
pub fn register() {
    pg_shmem_init!(COUNTERS = starting_now());
    ARE_THERE.get_or_init(|| ());
}

fn starting_now() -> Counters {
    Counters {
        reset_at: AtomicI64::new(store::now().0),
        ..Counters::default()
    }
}

fn counters() -> Option<&'static Counters> {
    ARE_THERE.get().map(|()| COUNTERS.get())
}

/// Counts an answer.
pub fn count(status: Status) {
    if let Some(counters) = counters() {
        counters.answers[status as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a client that could not show that it is the one it said to be.
pub fn count_failed_authentication() {
    if let Some(counters) = counters() {
        let count = &counters.failed_authentications;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each kind of answer with how often it was given, and since when they are counted. None without shared memory.
pub fn read() -> Option<(Vec<(&'static str, u64)>, Timestamp)> {
    let counters = counters()?;
    let answers = counters.labelled();
    let answers = answers.map(|(label, count)| (label, count.load(Ordering::Relaxed)));
    let since = Timestamp(counters.reset_at.load(Ordering::Relaxed));
    Some((answers.collect(), since))
}

/// Starts to count from 0.
pub fn reset() {
    if let Some(counters) = counters() {
        counters
            .labelled()
            .for_each(|(_, count)| count.store(0, Ordering::Relaxed));
        counters.reset_at.store(store::now().0, Ordering::Relaxed);
    }
}

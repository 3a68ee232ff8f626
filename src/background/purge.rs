//! The background worker that purges: there if the library is preloaded, at work if
//! `refresh_tokens.purge_interval` is set.
//!
//! A launcher without a database starts one worker after the other, each for one of the databases in
//! `refresh_tokens.purge_databases`. A worker that fails (its database is gone, say) ends with an
//! error in the server's log, and the launcher goes on with the next.

use super::{fail, has_extension, report, settle, take_signals, transaction, worker};
use crate::store::Kept;
use crate::{settings, store};
use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::prelude::*;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How soon a launcher that died is there again.
const RESTART: Duration = Duration::from_secs(10);

/// How many rows a transaction of a worker deletes: some tenths of a second, which is little to lose and
/// enough for the commit not to count.
const BATCH_SIZE: i64 = 10_000;

/// How many bytes of a name PostgreSQL keeps, of a database's when it is created, too (NAMEDATALEN, without the NUL).
const MAX_NAME_LEN: usize = 63;

/// Registers the launcher; called while libraries are preloaded.
pub fn register() {
    let name = "refresh_tokens purge launcher";
    worker(name, name, "refresh_tokens_purge_launcher")
        .set_restart_time(Some(RESTART))
        .load();
}

/// The launcher's life. Called by PostgreSQL in a process of its own.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn refresh_tokens_purge_launcher(_argument: pg_sys::Datum) {
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    // To no database; but only a process that is connected is told of the end of another.
    BackgroundWorker::connect_worker_to_spi(None, None);
    let mut rests_since = Instant::now();
    loop {
        // Before it rests: while a worker is waited for, a signal wakes nobody.
        if BackgroundWorker::sighup_received() {
            // SAFETY: called between transactions, as any process reads its configuration again.
            unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) };
        }
        if !BackgroundWorker::wait_latch(rest(rests_since)) || is_to_stop() {
            return;
        }
        if rest(rests_since) != Some(Duration::ZERO) {
            continue;
        }
        for database in settings::purge_databases() {
            if is_to_stop() {
                return;
            }
            purge_database(&database);
        }
        rests_since = Instant::now();
    }
}

/// How much longer the launcher rests, which has rested since `since`: a reload in between changes nothing in it. None: for
/// ever.
fn rest(since: Instant) -> Option<Duration> {
    settings::purge_interval().map(|interval| interval.saturating_sub(since.elapsed()))
}

/// Starts a worker for `database` and waits for its end.
fn purge_database(database: &str) {
    let database = &database[..database.floor_char_boundary(MAX_NAME_LEN)];
    // SAFETY: a plain variable of the process, set before it came here.
    let own_pid = unsafe { pg_sys::MyProcPid };
    let name = format!("refresh_tokens purge of {database}");
    let worker = worker(&name, "refresh_tokens purge", "refresh_tokens_purge_worker")
        .set_extra(database)
        .set_notify_pid(own_pid)
        .load_dynamic();
    match worker {
        // However it ended: the server's log has its error, and the others have their turn.
        Ok(worker) => drop(worker.wait_for_shutdown()),
        Err(_) => pgrx::log!(
            "refresh_tokens: no background worker for a purge: max_worker_processes is reached"
        ),
    }
}

/// A worker's life: batch after batch, till nothing is due, or somebody wants to drop the database. Called by PostgreSQL in
/// a process of its own.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn refresh_tokens_purge_worker(_argument: pg_sys::Datum) {
    take_signals();
    let database = BackgroundWorker::get_extra();
    BackgroundWorker::connect_worker_to_spi(Some(database), None);
    settle();
    let mut rows = 0;
    let is_done = loop {
        report(&format!("purge: {rows} rows so far"));
        let is_wanted = Cell::new(false);
        let batch = transaction(
            || is_wanted.set(!hold_database()),
            || if is_wanted.get() { None } else { owner() },
            || store::purge_due(BATCH_SIZE),
        );
        rows += batch.unwrap_or(0);
        if batch != Some(BATCH_SIZE) {
            break batch.is_some();
        }
    };
    if rows > 0 {
        pgrx::log!("refresh_tokens: purged {rows} rows in database \"{database}\"");
    }
    if is_done {
        tell_what_is_kept();
    }
}

/// Keeps the database from being dropped till the transaction ends; false: somebody is about to drop, rename or copy it.
/// DROP DATABASE waits for this lock as long as it has to, but for a process that stays connected only 5 seconds.
fn hold_database() -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        // SAFETY: a plain variable of the process.
        locktag_field3: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: takes numbers only. The lock is the one that a connection takes when it begins, and the transaction's.
    let result = unsafe { pg_sys::LockAcquire(&tag, mode, false, true) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Writes to the log what keeps sessions from being purged: a line in each purge for each foreign key.
fn tell_what_is_kept() {
    for kept in transaction(|| (), owner, store::kept_sessions).unwrap_or_default() {
        let Kept {
            table,
            constraint,
            sessions,
        } = kept;
        pgrx::warning!(
            "refresh_tokens: {table} keeps {sessions} sessions from being purged by foreign key \"{constraint}\""
        );
    }
}

/// Whose functions these are; none in a database without the extension.
fn owner() -> Option<pg_sys::Oid> {
    let owner = has_extension().then(|| store::read(|store| store.owner()));
    owner?.unwrap_or_else(|error| fail(error))
}

/// Whether the process was told to stop.
fn is_to_stop() -> bool {
    // SAFETY: a plain variable of the process that a signal handler sets.
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

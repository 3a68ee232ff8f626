//! Processes of the server's own that act for the extension: [`purge`], and [`durable`] verdicts.
//!
//! They act as the owner of the functions, restricted as PostgreSQL restricts maintenance by a superuser (VACUUM,
//! REINDEX): what somebody has defined on the tables gains nothing by a process that began as the bootstrap superuser.

pub mod counters;
pub mod durable;
pub mod purge;

use crate::error::Error;
use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, SignalWakeFlags};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_int};

const LIBRARY: &str = "refresh_tokens";

/// What is set in a process of ours whatever the database or the bootstrap superuser has set.
const SETTINGS: [(&CStr, &CStr); 7] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    (c"lock_timeout", c"0"),
    // So that of two who wait for each other it is the first to notice, and the one to give way.
    (c"deadlock_timeout", c"50ms"),
    (c"idle_in_transaction_session_timeout", c"0"),
    (c"session_replication_role", c"origin"),
];

/// A process of ours, which runs `function` of this library.
fn worker(name: &str, kind: &str, function: &str) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(name)
        .set_type(kind)
        .set_library(LIBRARY)
        .set_function(function)
        .enable_spi_access()
}

// pgrx's own is wrapped in a guard, and so no signal handler.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
}

/// Lets the process end when it is told to, also while it waits for a lock; and takes signals from now on.
fn take_signals() {
    let (signal, handler) = (pg_sys::SIGTERM as c_int, Some(die as _));
    // SAFETY: called once, before signals are unblocked. The handler is the one of client backends.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal, handler);
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal, handler);
    }
    BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP);
}

/// Shows in `pg_stat_activity` what the process is doing.
fn report(what: &str) {
    let Ok(what) = CString::new(format!("refresh_tokens {what}")) else {
        return;
    };
    // SAFETY: the text ends in NUL and is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, what.as_ptr()) };
}

/// Makes [`SETTINGS`] those of the process, which is connected to a database.
fn settle() {
    for (name, value) in SETTINGS {
        // SAFETY: both end in NUL, and the value is copied.
        unsafe {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_OVERRIDE,
            );
        }
    }
}

/// Runs `wait`, which holds nobody up, and then `act` in one transaction, as the role that `role` gives; none: `act` has no
/// place here.
///
/// An ERROR ends the process, as it ends any worker.
fn transaction<R>(
    wait: impl FnOnce(),
    role: impl FnOnce() -> Option<pg_sys::Oid>,
    act: impl FnOnce() -> Result<R, Error>,
) -> Option<R> {
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: the calls of a worker's loop, in their order (PostgreSQL's worker_spi). The user is put back after the
    // commit, so that what is deferred to it runs as the role, too; and before the next transaction, which asks for that.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        wait();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let done = role().map(|role| {
        restrict_to(role);
        let immediate = Spi::run("SET CONSTRAINTS ALL IMMEDIATE");
        let done = immediate.map_err(Error::from).and_then(|()| act());
        done.unwrap_or_else(|error| fail(error))
    });
    // SAFETY: as above.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        pg_sys::SetUserIdAndSecContext(user, context);
    }
    done
}

/// Raises `error`, which ends the process.
fn fail(error: Error) -> ! {
    ErrorReport::from(error).report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not come back")
}

/// Makes `role` the current user, who can become no other, and whose temporary tables and deferred triggers are refused:
/// as PostgreSQL's own maintenance of a role's tables does (vacuum_rel).
fn restrict_to(role: pg_sys::Oid) {
    let context = pg_sys::SECURITY_RESTRICTED_OPERATION | pg_sys::SECURITY_LOCAL_USERID_CHANGE;
    // SAFETY: whoever calls puts back what was there.
    unsafe { pg_sys::SetUserIdAndSecContext(role, context as i32) };
}

/// Whether this database has the extension.
fn has_extension() -> bool {
    // SAFETY: the name ends in NUL and is only read.
    let id = unsafe { pg_sys::get_extension_oid(c"refresh_tokens".as_ptr(), true) };
    id != pg_sys::InvalidOid
}

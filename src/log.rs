//! The server's log: what those who watch it should know, and no client.
//!
//! Nothing here shows the statement, in which a token may stand that is no bind parameter. What a caller can provoke at
//! will is bounded for each backend.

use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};
use refresh_tokens_core::label::Label;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::{LinesPerMinute, RecentTokens, Reuse};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use uuid::Uuid;

thread_local! {
    static REUSES: RefCell<RecentTokens> = const { RefCell::new(RecentTokens::new()) };
    static FAILURES: RefCell<LinesPerMinute> = const { RefCell::new(LinesPerMinute::new()) };
}

// What pgrx keeps to itself: its own reports can't leave out the statement, which may hold the token.
unsafe extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errcode(code: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Writes a reuse to the server's log, with the class of an invalid authorization: for those who watch
/// logs. Never to the client, who may be the thief; and without the statement, which PostgreSQL adds to
/// such a line by default and where the token stands that is not a bind parameter.
///
/// Once a minute for each token: see [`RecentTokens`].
pub fn reuse(reuse: Reuse, session: Option<Uuid>, token_id: i64, now: Timestamp) {
    if !REUSES.with_borrow_mut(|recent| recent.allows(token_id, now)) {
        return;
    }
    let session = session.map_or_else(|| "none".into(), |id| id.hyphenated().to_string());
    let message = format!(
        "refresh token reuse detected: {}, session {session}, token id {token_id}",
        reuse.label()
    );
    let code = PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
    report(PgLogLevel::LOG_SERVER_ONLY, code, &message, None);
}

/// Writes to the server's log that the authentication of `client` failed, with the class of a wrong password.
/// The name is one that the caller chose: it stands in one line, whatever it is.
/// Ten times a minute at the most.
pub fn failed_authentication(client: Option<&str>, now: Timestamp) {
    if !FAILURES.with_borrow_mut(|limit| limit.allows(now)) {
        return;
    }
    let client = client.map_or_else(|| "unknown".into(), |name| format!("{name:?}"));
    let message = format!("client authentication failed: client {client}");
    let code = PgSqlErrorCode::ERRCODE_INVALID_PASSWORD;
    report(PgLogLevel::LOG_SERVER_ONLY, code, &message, None);
}

/// Warns that a reuse was detected, and its revocation is undone if the transaction is rolled back.
pub fn not_durable() {
    report(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
        "the reuse of a refresh token may be undone with its transaction: there is no background worker for it",
        Some(
            "Raise max_worker_processes if this comes often, and commit the transaction whatever the status is.",
        ),
    );
}

/// Reports `message` below ERROR, without the statement and its context, in which a token may stand that is no bind parameter.
fn report(level: PgLogLevel, code: PgSqlErrorCode, message: &str, hint: Option<&str>) {
    let text = |text: &str| CString::new(text).expect("labels, ids and escaped names have no NUL");
    let (message, hint) = (text(message), hint.map(text));
    // SAFETY: the calls that ereport() makes, in its order, on the backend's one thread; strings end in NUL, and what
    // errfinish keeps is copied or static. It may take an interrupt, which leaves by a jump: the guard makes a panic of
    // it, so that what is on the way is dropped.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if errstart(level as c_int, c"refresh_tokens".as_ptr()) {
                errcode(code as c_int);
                errmsg_internal(c"%s".as_ptr(), message.as_ptr());
                if let Some(hint) = &hint {
                    errhint(c"%s".as_ptr(), hint.as_ptr());
                }
                pg_sys::errhidestmt(true);
                pg_sys::errhidecontext(true);
                errfinish(c"log.rs".as_ptr(), 0, c"report".as_ptr());
            }
        });
    }
}

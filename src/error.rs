//! Errors that break a call, and their SQLSTATEs: the only module that knows these.
//!
//! A verdict about a token is never an error, since an ERROR would undo the revocation that it
//! reports. An error means that the contract of a function was broken, or could not be kept; nothing
//! is changed then. No message holds a token, a key or a digest.

use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{PgLogLevel, PgSqlErrorCode, PgTryBuilder, spi};
use rand::rngs::SysError;
use refresh_tokens_core::oauth::access_token::HookFault;
use refresh_tokens_core::oauth::signing::{MIN_SECRET_LEN, UnusableKey};
use std::backtrace::Backtrace;
use std::ffi::c_int;
use std::panic::AssertUnwindSafe;
use thiserror::Error;

/// Everything that can be wrong with a call.
#[derive(Debug, Error)]
pub enum Error {
    /// A NULL where the function needs a value.
    #[error("{0} must not be NULL")]
    Null(&'static str),
    /// An empty string where the function needs a name.
    #[error("{0} must not be empty")]
    Empty(&'static str),
    /// A string that does not fit its column.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A batch of no rows, or of fewer.
    #[error("batch_size must be at least 1")]
    BatchSize,
    /// A procedure that commits, where nothing can be committed.
    #[error("{0} commits each batch, which it cannot do here")]
    CanNotCommit(&'static str),
    /// A session that would end before it begins.
    #[error("not_after must be in the future")]
    NotAfterPast,
    /// No such session, or another user's: a caller who guesses ids can't tell which.
    #[error("session_id is not a session of this user")]
    SessionUnknown,
    /// The session has ended.
    #[error("session has ended")]
    SessionEnded,
    /// The session is bound to another client.
    #[error("session belongs to another client")]
    SessionOfOtherClient,
    /// Claims that name a user, and not the session to spare.
    #[error("the claims name no session")]
    NoSessionClaim,
    /// An algorithm that no key can be made for.
    #[error("alg must be HS256, ES256 or EdDSA")]
    Alg,
    /// A secret where none is needed, or one that is too short.
    #[error("secret is for HS256 alone, and must have at least {MIN_SECRET_LEN} bytes")]
    Secret,
    /// An access token is to be signed, and no key is there.
    #[error("there is no signing key")]
    NoSigningKey,
    /// A row of signing keys that this extension has not written.
    #[error(transparent)]
    UnusableKey(#[from] UnusableKey),
    /// The setting names no such function.
    #[error("refresh_tokens.access_token_hook names no function (jsonb) that returns jsonb")]
    AccessTokenHook,
    /// The hook answered with claims that can't be signed.
    #[error(transparent)]
    Hook(#[from] HookFault),
    /// The setting names no such function.
    #[error(
        "refresh_tokens.client_authentication_hook names no function (text, text) that returns boolean"
    )]
    ClientAuthenticationHook,
    /// A table or sequence that belongs to somebody else, who could have what is done to it do more.
    #[error("\"auth.{0}\" does not belong to the owner of this function")]
    OtherOwner(String),
    /// A call that writes, where nothing can be written.
    #[error("cannot change refresh tokens in a read-only transaction")]
    ReadOnly,
    /// Another transaction changed the same rows, in a way that this one can't see.
    #[error("could not serialize access to a token family due to concurrent update")]
    Contended,
    /// A row that is there and locked was not written.
    #[error(
        "a token that is live could not be revoked: something on the tables keeps rows from being written"
    )]
    NotWritten,
    /// The function, or the type of its answer, was dropped while a call of it waited.
    #[error("function was dropped while it was called")]
    FunctionDropped,
    /// The operating system gave no random bytes.
    #[error("could not get random bytes from the operating system")]
    Random(#[from] SysError),
    /// A column holds NULL that never can in the tables as installed.
    #[error("unexpected NULL in the tables of extension \"refresh_tokens\"")]
    UnexpectedNull,
    /// The server programming interface refused a call.
    #[error("internal error in the server programming interface: {0}")]
    Spi(#[from] spi::Error),
}

impl Error {
    fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::Null(_) => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::Empty(_)
            | Self::NotAfterPast
            | Self::BatchSize
            | Self::NoSessionClaim
            | Self::Alg
            | Self::Secret
            | Self::Hook(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::AccessTokenHook | Self::ClientAuthenticationHook | Self::FunctionDropped => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION
            }
            Self::CanNotCommit(_) => PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_TERMINATION,
            Self::TooLong(_) => PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
            Self::SessionUnknown => PgSqlErrorCode::ERRCODE_FOREIGN_KEY_VIOLATION,
            Self::SessionEnded
            | Self::SessionOfOtherClient
            | Self::NoSigningKey
            | Self::NotWritten
            | Self::OtherOwner(_)
            | Self::UnusableKey(_) => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::ReadOnly => PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::Contended => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::Random(_) => PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
            Self::UnexpectedNull | Self::Spi(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLong(_) => Some("At most 255 characters are stored."),
            Self::BatchSize => Some("Leave batch_size out for batches of 1000 rows."),
            Self::CanNotCommit(_) => Some(
                "CALL it by itself: outside of BEGIN and COMMIT, and not in a function or a block with EXCEPTION.",
            ),
            Self::NoSessionClaim => {
                Some("The access token needs the claim session_id, with the id of its session.")
            }
            Self::NoSigningKey => Some("The owner has to call auth.rotate_signing_key()."),
            Self::UnusableKey(_) => {
                Some("Delete the row from auth.signing_keys and call auth.rotate_signing_key().")
            }
            Self::AccessTokenHook | Self::ClientAuthenticationHook => {
                Some("Write the function's name with its schema.")
            }
            Self::Hook(HookFault::Fixed(_) | HookFault::Expiry) => Some(
                "It may add claims and change others than sub, session_id, jti and iat; exp can only be an earlier time.",
            ),
            Self::SessionUnknown => Some("Leave session_id out to open a new session."),
            Self::SessionEnded => Some("The user has to log in again: leave session_id out."),
            Self::OtherOwner(_) => Some(
                "Give all of extension \"refresh_tokens\" to one role with auth.set_refresh_token_owner(role).",
            ),
            Self::ReadOnly => {
                Some("Call this function on the primary server, in a read-write transaction.")
            }
            Self::Contended => Some("Retry the transaction."),
            Self::NotWritten => {
                Some("Look for triggers and rules on auth.refresh_tokens and auth.sessions.")
            }
            Self::UnexpectedNull => {
                Some("Compare the definition of the tables with a fresh installation.")
            }
            _ => None,
        }
    }
}

/// Runs `f`, and keeps what is in a row out of an ERROR of PostgreSQL's on the way: of a broken constraint, which
/// somebody may have added to the tables, its DETAIL shows the row or the key, and there are digests and a derivation
/// key in them. SQLSTATE, message (which names the constraint) and HINT stay. All functions read and write the tables
/// inside of this.
pub fn without_rows<R>(f: impl FnOnce() -> R) -> R {
    PgTryBuilder::new(AssertUnwindSafe(f))
        .catch_others(|error| match error {
            CaughtError::PostgresError(error) if shows_row(error.sql_error_code()) => {
                let message = error.message().to_owned();
                let report = ErrorReport::new(error.sql_error_code(), message, "refresh_tokens");
                let report = match error.hint() {
                    Some(hint) => report.set_hint(hint),
                    None => report,
                };
                report.report(PgLogLevel::ERROR);
                unreachable!("an ERROR does not come back")
            }
            other => other.rethrow(),
        })
        .execute()
}

/// Whether the DETAIL of errors with this SQLSTATE shows a row or a key: those of the classes 23 and 44.
fn shows_row(code: PgSqlErrorCode) -> bool {
    // ERRCODE_TO_CATEGORY: six bits for each of the first two characters.
    let class = |code: PgSqlErrorCode| code as c_int & 0xfff;
    [
        PgSqlErrorCode::ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION,
        PgSqlErrorCode::ERRCODE_WITH_CHECK_OPTION_VIOLATION,
    ]
    .into_iter()
    .any(|shown| class(shown) == class(code))
}

/// Lets no error show a Rust backtrace, whatever the server's environment asks for: pgrx would put it into the
/// DETAIL, for every client to read. Called once for each process, before there can be an error.
pub fn without_backtraces() {
    const ASKED_BY: &str = "RUST_LIB_BACKTRACE";
    let asked = std::env::var_os(ASKED_BY);
    // SAFETY: the process has one thread. The standard library, of which this library has a copy of its own, reads
    // the variable when it is first asked for a backtrace, and never again; others find it as it was.
    unsafe {
        std::env::set_var(ASKED_BY, "0");
        drop(Backtrace::capture());
        match asked {
            Some(asked) => std::env::set_var(ASKED_BY, asked),
            None => std::env::remove_var(ASKED_BY),
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        let report = Self::new(error.code(), error.to_string(), "refresh_tokens");
        match error.hint() {
            Some(hint) => report.set_hint(hint),
            None => report,
        }
    }
}

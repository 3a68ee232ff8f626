//! The rotation of a live token without the executor: the same rows, found, locked and written by the calls
//! that the statements of claim.sql and rotate.sql come to, at half their cost.
//!
//! It is for the ordinary case alone: a live token with a session, under READ COMMITTED, in tables on
//! which nothing is defined that those statements would heed (triggers, rules, checks, policies, indexes
//! of expressions ...). Everything else is left to them, before anything is written.
//!
//! The foreign key of the new row is not looked up: the row that it refers to is locked by this transaction.

mod plain;
mod row;
mod table;

use super::Caller;
use crate::digest::Digest;
use crate::error::Error;
use crate::grant::TokenRow;
use crate::replay::ReplayKey;
use crate::session::Session;
use crate::time::Timestamp;
use pgrx::{IntoDatum, pg_sys};
use plain::{Column, check_replica_identity, column, is_unwatched, varchar_255};
use row::{Row, Version};
use table::{Indexes, Key, READ, Table, WRITE};
use uuid::Uuid;
use zeroize::Zeroizing;

type ColumnNumber = pg_sys::AttrNumber;

/// The columns of `auth.refresh_tokens`.
mod token {
    use super::*;

    pub(super) const INSTANCE_ID: ColumnNumber = 1;
    pub(super) const ID: ColumnNumber = 2;
    pub(super) const TOKEN: ColumnNumber = 3;
    pub(super) const USER_ID: ColumnNumber = 4;
    pub(super) const REVOKED: ColumnNumber = 5;
    pub(super) const CREATED_AT: ColumnNumber = 6;
    pub(super) const UPDATED_AT: ColumnNumber = 7;
    pub(super) const PARENT: ColumnNumber = 8;
    pub(super) const SESSION_ID: ColumnNumber = 9;

    pub(super) const COLUMNS: [Column; 9] = [
        column(c"instance_id", pg_sys::UUIDOID),
        column(c"id", pg_sys::INT8OID).not_null(),
        varchar_255(c"token"),
        varchar_255(c"user_id"),
        column(c"revoked", pg_sys::BOOLOID),
        column(c"created_at", pg_sys::TIMESTAMPTZOID),
        column(c"updated_at", pg_sys::TIMESTAMPTZOID),
        varchar_255(c"parent"),
        column(c"session_id", pg_sys::UUIDOID),
    ];

    /// Those that are set when it is swapped for its child.
    pub(super) const CHANGING: [ColumnNumber; 2] = [REVOKED, UPDATED_AT];
}

/// The columns of `auth.sessions`.
mod session {
    use super::*;

    pub(super) const ID: ColumnNumber = 1;
    pub(super) const USER_ID: ColumnNumber = 2;
    pub(super) const CREATED_AT: ColumnNumber = 3;
    pub(super) const UPDATED_AT: ColumnNumber = 4;
    pub(super) const NOT_AFTER: ColumnNumber = 7;
    pub(super) const REFRESHED_AT: ColumnNumber = 8;
    pub(super) const USER_AGENT: ColumnNumber = 9;
    pub(super) const IP: ColumnNumber = 10;
    pub(super) const CLIENT_ID: ColumnNumber = 12;
    pub(super) const REPLAY_KEY: ColumnNumber = 14;
    pub(super) const COUNTER: ColumnNumber = 15;

    pub(super) const COLUMNS: [Column; 15] = [
        column(c"id", pg_sys::UUIDOID).not_null(),
        varchar_255(c"user_id").not_null(),
        column(c"created_at", pg_sys::TIMESTAMPTZOID).not_null(),
        column(c"updated_at", pg_sys::TIMESTAMPTZOID).not_null(),
        column(c"factor_id", pg_sys::UUIDOID),
        column(c"aal", pg_sys::InvalidOid),
        column(c"not_after", pg_sys::TIMESTAMPTZOID),
        column(c"refreshed_at", pg_sys::TIMESTAMPTZOID),
        column(c"user_agent", pg_sys::TEXTOID),
        column(c"ip", pg_sys::INETOID),
        column(c"tag", pg_sys::TEXTOID),
        varchar_255(c"oauth_client_id"),
        column(c"scopes", pg_sys::TEXTOID),
        column(c"refresh_token_hmac_key", pg_sys::TEXTOID),
        column(c"refresh_token_counter", pg_sys::INT8OID),
    ];

    /// Those that a rotation sets.
    pub(super) const CHANGING: [ColumnNumber; 6] = [
        UPDATED_AT,
        REFRESHED_AT,
        USER_AGENT,
        IP,
        REPLAY_KEY,
        COUNTER,
    ];
}

/// What became of the attempt to claim a presented token.
pub(super) enum Found {
    /// There is no such token.
    NotFound,
    /// It is live, and its session locked.
    Live(Direct),
    /// It is for the statements to say.
    Unknown,
}

/// A live token and its session, which is locked, ready to be written.
pub(super) struct Direct {
    tokens: Table,
    token: Version,
    token_indexes: Indexes,
    sequence: pg_sys::Oid,
    sessions: Table,
    session: Version,
    session_indexes: Indexes,
}

/// Finds the token with `digest`, and locks its session if it is live.
pub(super) fn claim(digest: &Digest) -> Found {
    if !is_unwatched() || super::latest::is_hidden() {
        return Found::Unknown;
    }
    // SAFETY: as before any statement of a volatile function. What is not popped after an ERROR is at the
    // transaction's end.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let found = find(digest);
    // SAFETY: pushed above.
    unsafe { pg_sys::PopActiveSnapshot() }
    found.unwrap_or(Found::Unknown)
}

/// None: it is for the statements to say.
fn find(digest: &Digest) -> Option<Found> {
    let tokens = Table::open(c"refresh_tokens", READ)?;
    let is_plain = tokens.width() == token::COLUMNS.len()
        && tokens.begins_with(&token::COLUMNS)
        && tokens.is_read_plainly();
    if !is_plain {
        return None;
    }
    let key = Key {
        index: c"refresh_tokens_token_unique",
        column: token::TOKEN,
        equal: pg_sys::F_TEXTEQ,
        value: digest.as_str().into_datum()?,
    };
    let Some(token) = tokens.find(&key).ok()? else {
        return Some(Found::NotFound);
    };
    let row = tokens.columns(&token);
    // SAFETY: the column is of this type.
    let is_revoked = unsafe { row.get(token::REVOKED) };
    if is_revoked != Some(false) {
        return None;
    }
    let (session, is_null) = row.datum(token::SESSION_ID);
    if is_null {
        return None;
    }
    lock(tokens, token, session).map(Found::Live)
}

/// Locks the session with the id `session`, the session of `token`.
fn lock(tokens: Table, token: Version, session: pg_sys::Datum) -> Option<Direct> {
    tokens.lock(WRITE);
    let sessions = Table::open(c"sessions", WRITE)?;
    let is_plain = tokens.is_written_plainly()
        && sessions.is_read_plainly()
        && sessions.is_written_plainly()
        && sessions.begins_with(&session::COLUMNS)
        && tokens.refers_only(token::SESSION_ID, &sessions, session::ID);
    if !is_plain {
        return None;
    }
    let sequence = tokens.sequence(token::ID)?;
    let token_indexes = Indexes::open(&tokens, &token::CHANGING)?;
    let session_indexes = Indexes::open(&sessions, &session::CHANGING)?;
    let key = Key {
        index: c"sessions_pkey",
        column: session::ID,
        equal: pg_sys::F_UUID_EQ,
        value: session,
    };
    let session = sessions.find(&key).ok()??;
    // Foreign keys of a row that this transaction has written may be yet to check.
    if session.is_own() || !sessions.lock_row(&session) {
        return None;
    }
    Some(Direct {
        tokens,
        token,
        token_indexes,
        sequence,
        sessions,
        session,
        session_indexes,
    })
}

impl Direct {
    /// The token's row.
    pub(super) fn token_row(&self) -> Option<TokenRow> {
        let row = self.tokens.columns(&self.token);
        // SAFETY: the columns are of these types.
        unsafe {
            Some(TokenRow {
                id: row.get(token::ID)?,
                instance_id: uuid(&row, token::INSTANCE_ID),
                created_at: timestamp(&row, token::CREATED_AT),
            })
        }
    }

    /// The session, as it is under the lock, and its replay key as the column has it.
    pub(super) fn session(&self) -> Option<(Session, Option<Zeroizing<String>>)> {
        let row = self.sessions.columns(&self.session);
        // SAFETY: the columns are of these types.
        unsafe {
            let session = Session {
                id: uuid(&row, session::ID),
                user_id: row.get(session::USER_ID),
                client_id: row.get(session::CLIENT_ID),
                created_at: timestamp(&row, session::CREATED_AT)?,
                refreshed_at: timestamp(&row, session::REFRESHED_AT),
                not_after: timestamp(&row, session::NOT_AFTER),
            };
            let key = row.get::<String>(session::REPLAY_KEY);
            Some((session, key.map(Zeroizing::new)))
        }
    }

    /// Swaps the token for its child, and gives the child's id. None: the token is not live any more;
    /// nothing changed.
    pub(super) fn rotate(
        &self,
        child: &Digest,
        now: Timestamp,
        key: &ReplayKey,
        caller: &Caller<'_>,
    ) -> Result<Option<i64>, Error> {
        check_replica_identity(&self.tokens);
        check_replica_identity(&self.sessions);
        let mut parent = self.tokens.columns(&self.token);
        parent.set(token::REVOKED, true.into_datum());
        parent.set(token::UPDATED_AT, Some(now.0.into()));
        if !self
            .tokens
            .update(&self.token, &mut parent, &self.token_indexes)
        {
            return Ok(None);
        }
        let id = self.next_id();
        let mut row = self.child_of(&parent, id, child, now);
        self.tokens.insert(&mut row, &self.token_indexes);
        self.touch(now, key, caller)?;
        // SAFETY: as after any statement that writes.
        unsafe { pg_sys::CommandCounterIncrement() }
        Ok(Some(id))
    }

    fn next_id(&self) -> i64 {
        let argument = pg_sys::Datum::from(self.sequence);
        // SAFETY: the default of the column calls this function with this sequence.
        let id = unsafe {
            pg_sys::OidFunctionCall1Coll(pg_sys::F_NEXTVAL.into(), pg_sys::InvalidOid, argument)
        };
        id.value() as i64
    }

    fn child_of(&self, parent: &Row, id: i64, digest: &Digest, now: Timestamp) -> Row {
        let mut row = Row::of(token::COLUMNS.len());
        row.copy(token::INSTANCE_ID, parent, token::INSTANCE_ID);
        row.set(token::ID, Some(id.into()));
        row.set(token::TOKEN, digest.as_str().into_datum());
        row.copy(token::USER_ID, parent, token::USER_ID);
        row.set(token::REVOKED, false.into_datum());
        row.set(token::CREATED_AT, Some(now.0.into()));
        row.set(token::UPDATED_AT, Some(now.0.into()));
        row.copy(token::PARENT, parent, token::TOKEN);
        row.copy(token::SESSION_ID, parent, token::SESSION_ID);
        row
    }

    /// Records the rotation in the session.
    fn touch(&self, now: Timestamp, key: &ReplayKey, caller: &Caller<'_>) -> Result<(), Error> {
        let mut row = self.sessions.columns(&self.session);
        row.set(session::UPDATED_AT, Some(now.0.into()));
        row.set(session::REFRESHED_AT, Some(now.0.into()));
        if let Some(user_agent) = caller.user_agent {
            row.set(session::USER_AGENT, user_agent.into_datum());
        }
        if let Some(ip) = &caller.ip {
            row.set(session::IP, ip.clone().into_datum());
        }
        row.set(session::REPLAY_KEY, key.to_column().as_str().into_datum());
        // SAFETY: the column is of this type.
        let counter: i64 = unsafe { row.get(session::COUNTER) }.unwrap_or(0);
        row.set(
            session::COUNTER,
            Some(counter.min(i64::MAX - 1).wrapping_add(1).into()),
        );
        match self
            .sessions
            .update(&self.session, &mut row, &self.session_indexes)
        {
            true => Ok(()),
            // Nobody can have changed what is locked.
            false => Err(Error::Contended),
        }
    }
}

/// # Safety
/// The column is a uuid.
unsafe fn uuid(row: &Row, column: ColumnNumber) -> Option<Uuid> {
    // SAFETY: as the caller says.
    let id = unsafe { row.get::<pgrx::Uuid>(column) };
    id.map(|id| Uuid::from_bytes(*id.as_bytes()))
}

/// # Safety
/// The column is a timestamptz.
unsafe fn timestamp(row: &Row, column: ColumnNumber) -> Option<Timestamp> {
    // SAFETY: as the caller says.
    unsafe { row.get::<i64>(column) }.map(Timestamp)
}

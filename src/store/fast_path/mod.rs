//! The rotation of a live token without a statement: the same rows, found, locked and written by the calls
//! that lock.sql and rotate.sql come to, for less than they cost.
//!
//! It is for the ordinary case alone: a live token with a session, in tables on which nothing is defined but
//! what [`eligibility`] allows. Everything else is left to the statements, before anything is written; so are the errors
//! of isolation levels.
//!
//! The foreign key of the new row is not looked up: the row that it refers to is locked by this transaction.
//!
//! What is here lives for the length of one call. Copies of rows lie in the call's memory context. After an
//! ERROR nothing is closed or popped here: the end of the transaction does that, as for PostgreSQL's own code.

mod columns;
mod eligibility;
mod index;
mod row;
mod table;
mod write;

use super::tokens::Caller;
use crate::error::Error;
use crate::settings;
use columns::{session, token};
use index::Key;
use pgrx::{IntoDatum, pg_sys};
use refresh_tokens_core::sessions::Session;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::{DerivationKey, Digest};
use refresh_tokens_core::verdict::TokenRow;
use row::{HeapTuple, Row};
use table::Table;
use write::Query;
use zeroize::Zeroizing;

/// What there is of a presented token.
pub(super) enum FastLookup {
    /// There is no such token.
    NotFound,
    /// It is live, and its session locked.
    Live(LockedRows),
}

/// A live token and its session, which is locked, ready to be written.
pub(super) struct LockedRows {
    token: LockedRow,
    session: LockedRow,
    /// That of the tokens' ids.
    sequence: pg_sys::Oid,
    /// By which the token refers to the session, if it has one.
    foreign_key: Option<pg_sys::Oid>,
}

/// A row of a table.
struct LockedRow {
    table: Table,
    version: HeapTuple,
    row: Row,
}

/// Finds the token with `digest`, and locks its session if it is live. None: it is for the statements to say.
pub(super) fn lock(digest: &Digest) -> Option<FastLookup> {
    if !eligibility::is_compared() || !settings::fast_path() || !eligibility::no_audit_hook() {
        return None;
    }
    let tokens = Table::open(c"refresh_tokens")?;
    let sessions = Table::open(c"sessions")?;
    // Only now: a snapshot from before the locks may not see the rows of a table that was rewritten meanwhile.
    // What this very statement has written before is seen, as by a statement of a volatile function.
    // SAFETY: what is not popped after an ERROR is at the transaction's end.
    unsafe {
        pg_sys::CommandCounterIncrement();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let found = find(tokens, sessions, digest);
    // SAFETY: pushed above.
    unsafe { pg_sys::PopActiveSnapshot() }
    found
}

fn find(tokens: Table, sessions: Table, digest: &Digest) -> Option<FastLookup> {
    let is_eligible = tokens.width() == token::COLUMNS.len()
        && tokens.begins_with(&token::COLUMNS)
        && tokens.is_eligible()
        && sessions.begins_with(&session::COLUMNS)
        && sessions.is_eligible();
    if !is_eligible {
        return None;
    }
    let key = Key {
        column: token::TOKEN,
        equal: pg_sys::F_TEXTEQ,
        value: digest.as_str().into_datum()?,
    };
    let Some(version) = tokens.find(&key).ok()? else {
        return Some(FastLookup::NotFound);
    };
    let row = tokens.columns(&version);
    if row.boolean(token::REVOKED) != Some(false) {
        return None;
    }
    let token = LockedRow {
        table: tokens,
        version,
        row,
    };
    lock_session(token, sessions).map(FastLookup::Live)
}

/// Locks the session of `token`.
fn lock_session(token: LockedRow, sessions: Table) -> Option<LockedRows> {
    let key = Key {
        column: session::ID,
        equal: pg_sys::F_UUID_EQ,
        value: token.row.datum(token::SESSION_ID)?,
    };
    let sequence = token.table.sequence(token::ID)?;
    let foreign_key = (token.table).foreign_key(token::SESSION_ID, &sessions, session::ID);
    let version = sessions.find(&key).ok()??;
    // Where somebody has let these be NULL, statements know what to do.
    let row = sessions.columns(&version);
    row.timestamp(session::CREATED_AT)?;
    row.timestamp(session::UPDATED_AT)?;
    token.row.bigint(token::ID)?;
    let session = LockedRow {
        row,
        table: sessions,
        version,
    };
    (session.table.lock_row(&session.version)).then(|| LockedRows {
        token,
        session,
        sequence,
        foreign_key,
    })
}

impl LockedRows {
    /// The token's row.
    pub(super) fn token_row(&self) -> Result<TokenRow, Error> {
        let row = &self.token.row;
        Ok(TokenRow {
            id: row.bigint(token::ID).ok_or(Error::UnexpectedNull)?,
            instance_id: row.uuid(token::INSTANCE_ID),
            created_at: row.timestamp(token::CREATED_AT),
        })
    }

    /// The session, as it is under the lock.
    pub(super) fn session(&self) -> Result<Session, Error> {
        let row = &self.session.row;
        let created_at = row.timestamp(session::CREATED_AT);
        Ok(Session {
            id: row.uuid(session::ID),
            user_id: row.text(session::USER_ID),
            client_id: row.text(session::CLIENT_ID),
            created_at: created_at.ok_or(Error::UnexpectedNull)?,
            updated_at: row
                .timestamp(session::UPDATED_AT)
                .ok_or(Error::UnexpectedNull)?,
            refreshed_at: row.timestamp(session::REFRESHED_AT),
            not_after: row.timestamp(session::NOT_AFTER),
        })
    }

    /// The session's derivation key, if it has one.
    pub(super) fn key(&self) -> Option<DerivationKey> {
        let key = self.session.row.text(session::DERIVATION_KEY);
        DerivationKey::from_column(&Zeroizing::new(key?))
    }

    /// Rotates the token, records the use, and gives the child's id. None: the token is not
    /// live any more; nothing was changed.
    pub(super) fn rotate(
        &self,
        child: &Digest,
        now: Timestamp,
        key: &DerivationKey,
        caller: &Caller<'_>,
    ) -> Result<Option<i64>, Error> {
        let mut parent = self.token.row.clone();
        parent.set(token::REVOKED, true);
        parent.set(token::UPDATED_AT, now.0);
        let query = Query::begin();
        let tokens = query.writer(&self.token.table, &token::CHANGING);
        if let Some(key) = self.foreign_key {
            tokens.skip_foreign_key(key);
        }
        let id = tokens.update(&self.token.version, &parent).then(|| {
            let id = self.next_id();
            tokens.insert(&child_of(&parent, id, child, now));
            id
        });
        tokens.close();
        if id.is_some() {
            self.touch(&query, now, key, caller)?;
        }
        query.end();
        Ok(id)
    }

    fn next_id(&self) -> i64 {
        let sequence = pg_sys::Datum::from(self.sequence);
        // SAFETY: the default of the column calls this function with this sequence.
        let id = unsafe {
            pg_sys::OidFunctionCall1Coll(pg_sys::F_NEXTVAL.into(), pg_sys::InvalidOid, sequence)
        };
        id.value() as i64
    }

    /// Records the rotation in the session.
    fn touch(
        &self,
        query: &Query,
        now: Timestamp,
        key: &DerivationKey,
        caller: &Caller<'_>,
    ) -> Result<(), Error> {
        let mut row = self.session.row.clone();
        row.set(session::UPDATED_AT, now.0);
        row.set(session::REFRESHED_AT, now.0);
        if let Some(user_agent) = caller.user_agent {
            row.set(session::USER_AGENT, user_agent);
        }
        if let Some(ip) = &caller.ip {
            row.set(session::IP, ip.clone());
        }
        row.set(session::DERIVATION_KEY, key.to_column().as_str());
        let rotations = row.bigint(session::COUNTER).unwrap_or(0);
        row.set(session::COUNTER, rotations.min(i64::MAX - 1) + 1);
        let sessions = query.writer(&self.session.table, &session::CHANGING);
        let is_done = sessions.update(&self.session.version, &row);
        sessions.close();
        // It is locked: nobody can have changed it.
        is_done.then_some(()).ok_or(Error::Contended)
    }
}

/// The row of the child of `parent`.
fn child_of(parent: &Row, id: i64, digest: &Digest, now: Timestamp) -> Row {
    let mut row = Row::of(token::COLUMNS.len());
    row.copy(token::INSTANCE_ID, parent, token::INSTANCE_ID);
    row.set(token::ID, id);
    row.set(token::TOKEN, digest.as_str());
    row.copy(token::USER_ID, parent, token::USER_ID);
    row.set(token::REVOKED, false);
    row.set(token::CREATED_AT, now.0);
    row.set(token::UPDATED_AT, now.0);
    row.copy(token::PARENT, parent, token::TOKEN);
    row.copy(token::SESSION_ID, parent, token::SESSION_ID);
    row
}

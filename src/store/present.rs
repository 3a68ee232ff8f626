//! A presented token: claimed, rotated, kept.

use super::fast_path::{self, Found, Ready};
use super::plan::plan;
use super::row::{
    column, optional_uuid_argument, required, timestamp, timestamp_argument, uuid, uuid_argument,
};
use super::unlogged::Unlogged;
use super::{Chain, Store, now};
use crate::derivation::{DerivationKey, Descent};
use crate::digest::Digest;
use crate::error::Error;
use crate::grant::TokenRow;
use crate::session::Session;
use crate::time::Timestamp;
use crate::verdict::{Facts, Live, Presented};
use pgrx::spi::SpiTupleTable;
use uuid::Uuid;
use zeroize::Zeroizing;

plan!(CLAIM, fresh, "claim.sql", [TEXTOID]);
plan!(FACTS_LOCKED, fresh, "facts.sql", [TEXTOID]);
plan!(FACTS, stable, "facts.sql", [TEXTOID]);
plan!(
    ROTATE,
    fresh,
    "rotate.sql",
    [
        INT8OID,
        TEXTOID,
        TIMESTAMPTZOID,
        TEXTOID,
        TEXTOID,
        INETOID,
        UUIDOID
    ]
);
plan!(
    TOUCH,
    fresh,
    "touch.sql",
    [UUIDOID, TIMESTAMPTZOID, TEXTOID, INETOID]
);
plan!(EXISTS, fresh, "exists.sql", [TEXTOID]);
plan!(HAS_CHILD, fresh, "has_child.sql", [TEXTOID]);
plan!(DESCENT, fresh, "descent.sql", [UUIDOID, TEXTARRAYOID]);

/// What became of the attempt to claim a presented token.
pub enum Claim {
    /// There is no such token.
    NotFound,
    /// Its session is locked and as it is under the lock; the token was live before that. That is enough to
    /// rotate it, which tests it again; for any other verdict the family is to be read under the lock.
    Found(Box<Held>),
    /// Its family is locked, and read under the lock.
    Held(Box<Held>),
    /// The row changed hands between being found and being locked: a session was given to it, or taken from it.
    /// Try again.
    Raced,
}

/// A presented token and its family.
pub struct Held {
    /// What the verdict is computed from.
    pub facts: Facts,
    /// When it was read: the one time of the call, taken after the lock was held.
    pub now: Timestamp,
    /// The presented token's row.
    pub row: TokenRow,
    /// The family's live token, where the presented token is not it, and its digest; empty if the row
    /// has none, which no token has.
    pub live: Option<(TokenRow, String)>,
    /// The session's derivation key, once it was rotated.
    pub key: Option<DerivationKey>,
    /// How often the session was rotated.
    pub rotations: i64,
    /// The rows of a family that has no session.
    pub chain: Option<Chain>,
    /// The rows of token and session, where they can be written without a statement.
    pub(super) ready: Option<Ready>,
}

/// Who presents a token, as far as it is recorded.
#[derive(Default)]
pub struct Caller<'a> {
    /// The client's user agent; recorded if given.
    pub user_agent: Option<&'a str>,
    /// The client's address; recorded if given.
    pub ip: Option<pgrx::Inet>,
}

impl Held {
    /// A token of `session`, as far as its rotation asks.
    pub(super) fn new(
        session: Session,
        presented: Presented,
        row: TokenRow,
        key: Option<DerivationKey>,
        now: Timestamp,
    ) -> Self {
        Self {
            facts: Facts {
                session,
                presented,
                live: None,
            },
            now,
            row,
            live: None,
            key,
            rotations: 0,
            chain: None,
            ready: None,
        }
    }

    /// The row of the child with this id.
    fn child_row(&self, id: i64) -> TokenRow {
        TokenRow {
            id,
            created_at: Some(self.now),
            ..self.row
        }
    }
}

impl Store<'_> {
    /// Locks the family of the token with `digest`. A token found live is not read again under the lock.
    pub fn claim(&self, digest: &Digest) -> Result<Claim, Error> {
        match fast_path::claim(digest) {
            Some(Found::Nothing) => return Ok(Claim::NotFound),
            Some(Found::Live(ready)) => return held_ready(ready, now()).map(Claim::Found),
            None => (),
        }
        let found = CLAIM.run(self.client, &[digest.as_str().into()])?;
        if found.is_empty() {
            return Ok(Claim::NotFound);
        }
        let found = found.first();
        if !required::<bool>(&found, 12)? {
            return Ok(self.lock_chain(digest.as_str())?.held(digest, now()));
        }
        let held = held(&found, now())?;
        if held.facts.presented == Presented::Live {
            return Ok(Claim::Found(held));
        }
        self.read_claimed(digest)
    }

    /// Reads the family of the token with `digest`, whose session is locked, under the lock.
    pub fn read_claimed(&self, digest: &Digest) -> Result<Claim, Error> {
        let now = now();
        let row = FACTS_LOCKED.run(self.client, &[digest.as_str().into()])?;
        if row.is_empty() {
            return Ok(Claim::NotFound);
        }
        Ok(facts(row, now)?.map_or(Claim::Raced, Claim::Held))
    }

    /// Reads the family of the token with `digest` and locks nothing.
    pub fn look(&self, digest: &Digest) -> Result<Claim, Error> {
        let now = now();
        let row = FACTS.run(self.client, &[digest.as_str().into()])?;
        if row.is_empty() {
            return Ok(Claim::NotFound);
        }
        match facts(row, now)? {
            Some(held) => Ok(Claim::Held(held)),
            None => Ok(self.read_chain(digest.as_str())?.held(digest, now)),
        }
    }

    /// Swaps the presented token for its child. None: it is not live any more; nothing changed.
    pub fn rotate(
        &self,
        held: &Held,
        child: &Digest,
        key: &DerivationKey,
        caller: &Caller<'_>,
    ) -> Result<Option<TokenRow>, Error> {
        if let Some(ready) = &held.ready {
            let id = ready.rotate(child, held.now, key, caller)?;
            return Ok(id.map(|id| held.child_row(id)));
        }
        let key = key.to_column();
        let _unlogged = Unlogged::new();
        let inserted = ROTATE.run(
            self.client,
            &[
                held.row.id.into(),
                child.as_str().into(),
                timestamp_argument(held.now),
                key.as_str().into(),
                caller.user_agent.into(),
                caller.ip.clone().into(),
                optional_uuid_argument(held.facts.session.id),
            ],
        )?;
        if inserted.is_empty() {
            return Ok(None);
        }
        Ok(Some(held.child_row(required(&inserted.first(), 1)?)))
    }

    /// Records the use of a token that stays as it is.
    pub fn touch(&self, session: Uuid, at: Timestamp, caller: &Caller<'_>) -> Result<(), Error> {
        let arguments = [
            uuid_argument(session),
            timestamp_argument(at),
            caller.user_agent.into(),
            caller.ip.clone().into(),
        ];
        TOUCH.run(self.client, &arguments).map(drop)
    }

    /// Whether there is a token with `digest`.
    pub fn exists(&self, digest: &Digest) -> Result<bool, Error> {
        let found = EXISTS.run(self.client, &[digest.as_str().into()])?;
        required(&found.first(), 1)
    }

    /// Whether the token with `digest` was replaced by another one.
    pub fn has_child(&self, digest: &Digest) -> Result<bool, Error> {
        let found = HAS_CHILD.run(self.client, &[digest.as_str().into()])?;
        required(&found.first(), 1)
    }

    /// Whether each digest of `descent` is a row of `session`.
    pub fn descends(&self, session: Uuid, descent: &Descent) -> Result<bool, Error> {
        let digests: Vec<_> = descent.digests.iter().map(Digest::as_str).collect();
        let counted = DESCENT.run(self.client, &[uuid_argument(session), digests.into()])?;
        let rows: i64 = required(&counted.first(), 1)?;
        Ok(usize::try_from(rows) == Ok(descent.digests.len()))
    }
}

/// The one row of facts.sql; none if the token belongs to a family without a session.
fn facts(table: SpiTupleTable<'_>, now: Timestamp) -> Result<Option<Box<Held>>, Error> {
    let row = table.first();
    if !required::<bool>(&row, 20)? {
        return Ok(None);
    }
    let mut held = held(&row, now)?;
    held.row.created_at = timestamp(&row, 12)?;
    held.rotations = column(&row, 14)?.unwrap_or(0);
    if let Presented::Revoked(at) = &mut held.facts.presented {
        *at = timestamp(&row, 13)?;
    }
    if let Some(id) = column(&row, 15)? {
        let digest = column(&row, 18)?.unwrap_or_default();
        held.live = Some((token_row(&row, id, 16)?, digest));
        held.facts.live = Some(Live {
            replaced_presented: column(&row, 19)?.unwrap_or(false),
        });
    }
    Ok(Some(held))
}

/// The columns that claim.sql and facts.sql begin with, of the token and its session. What a rotation doesn't
/// ask for is as if it were not known.
fn held(row: &SpiTupleTable<'_>, now: Timestamp) -> Result<Box<Held>, Error> {
    let session = session(row, 4)?;
    let presented = match (&session, required(row, 3)?) {
        (None, _) => Presented::WithoutSession,
        (Some(_), true) => Presented::Live,
        (Some(_), false) => Presented::Revoked(None),
    };
    let session = session.unwrap_or_else(Session::nobodys);
    let token = TokenRow {
        id: required(row, 1)?,
        instance_id: uuid(row, 2)?,
        created_at: None,
    };
    let key = column::<String>(row, 11)?.map(Zeroizing::new);
    let key = key
        .as_deref()
        .and_then(|key| DerivationKey::from_column(key));
    Ok(Box::new(Held::new(session, presented, token, key, now)))
}

/// A live token that was claimed without a statement.
fn held_ready(ready: Ready, now: Timestamp) -> Result<Box<Held>, Error> {
    let (session, token) = (ready.session()?, ready.token_row()?);
    let held = Held::new(session, Presented::Live, token, ready.key(), now);
    Ok(Box::new(Held {
        ready: Some(ready),
        ..held
    }))
}

/// The columns instance_id and created_at, from `at` on, of the token `id`.
fn token_row(row: &SpiTupleTable<'_>, id: i64, at: usize) -> Result<TokenRow, Error> {
    Ok(TokenRow {
        id,
        instance_id: uuid(row, at)?,
        created_at: timestamp(row, at + 1)?,
    })
}

/// The seven columns of a session, from `at` on; none if there is no session. A time that somebody has taken out is
/// as long ago as can be, so that whatever limit there is has passed.
pub(super) fn session(row: &SpiTupleTable<'_>, at: usize) -> Result<Option<Session>, Error> {
    let Some(id) = uuid(row, at)? else {
        return Ok(None);
    };
    Ok(Some(Session {
        id: Some(id),
        user_id: column(row, at + 1)?,
        client_id: column(row, at + 2)?,
        created_at: timestamp(row, at + 3)?.unwrap_or(Timestamp::BEGINNING),
        refreshed_at: timestamp(row, at + 4)?,
        not_after: timestamp(row, at + 5)?,
        updated_at: timestamp(row, at + 6)?.unwrap_or(Timestamp::BEGINNING),
    }))
}

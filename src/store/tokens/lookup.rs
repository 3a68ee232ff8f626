//! A presented token and its family: looked up and locked, or looked at without a lock.

use super::orphan_family::{Orphan, OrphanFamily};
use crate::error::Error;
use crate::store::fast_path::{self, FastLookup, LockedRows};
use crate::store::plan::plan;
use crate::store::row::{column, required, timestamp, uuid};
use crate::store::sessions::session;
use crate::store::{Store, now};
use pgrx::spi::SpiTupleTable;
use refresh_tokens_core::sessions::Session;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::{DerivationKey, Digest};
use refresh_tokens_core::verdict::{Facts, Live, Presented, TokenRow};
use zeroize::Zeroizing;

plan!(LOCK, fresh, "lock.sql", [TEXTOID]);
plan!(READ_LOCKED, fresh, "read.sql", [TEXTOID]);
plan!(READ, stable, "read.sql", [TEXTOID]);

/// What was found of a presented token.
pub enum Lookup {
    /// There is no such token.
    NotFound,
    /// Its session is locked and as it is under the lock; the token was live before that. That is enough to rotate it,
    /// which tests it again; for any other verdict the family is to be read under the lock.
    LockedLive(Box<Family>),
    /// Its family is locked, and read under the lock.
    LockedFamily(Box<Family>),
    /// The row changed between lookup and lock: a session was given to it, or taken from it. Look it up again.
    Changed,
}

/// A presented token and its family.
pub struct Family {
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
    pub orphans: Option<OrphanFamily>,
    /// The rows of token and session, where they can be written without a statement.
    pub(in crate::store) locked_rows: Option<LockedRows>,
}

impl Family {
    /// A token of `session`, as far as its rotation asks.
    pub(in crate::store) fn new(
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
            orphans: None,
            locked_rows: None,
        }
    }
}

impl Store<'_> {
    /// Locks the family of the token with `digest`. A token found live is not read again under the lock.
    pub fn lock(&self, digest: &Digest) -> Result<Lookup, Error> {
        match fast_path::lock(digest) {
            Some(FastLookup::NotFound) => return Ok(Lookup::NotFound),
            Some(FastLookup::Live(rows)) => {
                return locked_rows(rows, now()).map(Lookup::LockedLive);
            }
            None => (),
        }
        let found = LOCK.run(self.client, &[digest.as_str().into()])?;
        if found.is_empty() {
            return Ok(Lookup::NotFound);
        }
        let found = found.first();
        if !required::<bool>(&found, "has_session")? {
            let orphans = self.lock_orphans(digest.as_str())?;
            let family = orphan_family(orphans, digest, now());
            return Ok(family.map_or(Lookup::Changed, Lookup::LockedFamily));
        }
        let family = family(&found, now())?;
        if family.facts.presented == Presented::Live {
            return Ok(Lookup::LockedLive(family));
        }
        self.read_locked(digest)
    }

    /// Reads the family of the token with `digest`, whose session is locked, under the lock.
    pub fn read_locked(&self, digest: &Digest) -> Result<Lookup, Error> {
        let now = now();
        let row = READ_LOCKED.run(self.client, &[digest.as_str().into()])?;
        if row.is_empty() {
            return Ok(Lookup::NotFound);
        }
        let family = whole_family(&row.first(), now)?;
        Ok(family.map_or(Lookup::Changed, Lookup::LockedFamily))
    }

    /// Reads the family of the token with `digest` and locks nothing. None: there is no such token.
    ///
    /// # Errors
    /// 40001: the row changed while it was looked at.
    pub fn peek(&self, digest: &Digest) -> Result<Option<Box<Family>>, Error> {
        let now = now();
        let row = READ.run(self.client, &[digest.as_str().into()])?;
        if row.is_empty() {
            return Ok(None);
        }
        let family = match whole_family(&row.first(), now)? {
            Some(family) => Some(family),
            None => orphan_family(self.read_orphans(digest.as_str())?, digest, now),
        };
        family.ok_or(Error::Contended).map(Some)
    }
}

/// The row of read.sql; none if the token belongs to a family without a session.
fn whole_family(row: &SpiTupleTable<'_>, now: Timestamp) -> Result<Option<Box<Family>>, Error> {
    if !required::<bool>(row, "has_session")? {
        return Ok(None);
    }
    let mut family = family(row, now)?;
    family.row.created_at = timestamp(row, "token_created_at")?;
    family.rotations = column(row, "refresh_token_counter")?.unwrap_or(0);
    if let Presented::Revoked(at) = &mut family.facts.presented {
        *at = timestamp(row, "token_updated_at")?;
    }
    if let Some(id) = column(row, "live_id")? {
        let live = TokenRow {
            id,
            instance_id: uuid(row, "live_instance_id")?,
            created_at: timestamp(row, "live_created_at")?,
        };
        let digest = column(row, "live_token")?.unwrap_or_default();
        family.live = Some((live, digest));
        family.facts.live = Some(Live {
            replaced_presented: column(row, "live_replaced_presented")?.unwrap_or(false),
        });
    }
    Ok(Some(family))
}

/// The columns that lock.sql and read.sql begin with, of the token and its session. What a rotation doesn't ask for is
/// as if it were not known.
fn family(row: &SpiTupleTable<'_>, now: Timestamp) -> Result<Box<Family>, Error> {
    let session = session(row)?;
    let presented = match (&session, required(row, "is_live")?) {
        (None, _) => Presented::WithoutSession,
        (Some(_), true) => Presented::Live,
        (Some(_), false) => Presented::Revoked(None),
    };
    let session = session.unwrap_or_else(Session::nobodys);
    let token = TokenRow {
        id: required(row, "token_id")?,
        instance_id: uuid(row, "instance_id")?,
        created_at: None,
    };
    let key = column::<String>(row, "refresh_token_hmac_key")?.map(Zeroizing::new);
    let key = key
        .as_deref()
        .and_then(|key| DerivationKey::from_column(key));
    Ok(Box::new(Family::new(session, presented, token, key, now)))
}

/// A live token that was locked without a statement.
fn locked_rows(rows: LockedRows, now: Timestamp) -> Result<Box<Family>, Error> {
    let (session, token) = (rows.session()?, rows.token_row()?);
    let family = Family::new(session, Presented::Live, token, rows.key(), now);
    Ok(Box::new(Family {
        locked_rows: Some(rows),
        ..family
    }))
}

/// The family as seen from the token with `digest`, with the session that it would be given: the
/// user of the presented row, as old as the oldest row, last refreshed when the newest was minted.
/// None: the token is not in it any more.
fn orphan_family(orphans: OrphanFamily, digest: &Digest, now: Timestamp) -> Option<Box<Family>> {
    let is_presented = |orphan: &&Orphan| orphan.token.as_deref() == Some(digest.as_str());
    let presented = orphans.0.iter().find(is_presented)?;
    let live = orphans
        .0
        .iter()
        .rfind(|orphan| orphan.live && !presented.live);
    let minted = || orphans.0.iter().filter_map(|orphan| orphan.row.created_at);
    let session = Session {
        id: None,
        user_id: presented.user_id.clone(),
        client_id: None,
        created_at: minted().min().unwrap_or(now),
        updated_at: now,
        refreshed_at: minted().max(),
        not_after: None,
    };
    let state = match presented.live {
        true => Presented::Live,
        false => Presented::Revoked(presented.updated_at),
    };
    let mut family = Family::new(session, state, presented.row, None, now);
    family.facts.live = live.map(|live| Live {
        replaced_presented: live.parent == presented.token,
    });
    family.live = live.map(|live| (live.row, live.token.clone().unwrap_or_default()));
    family.orphans = Some(orphans);
    Some(Box::new(family))
}

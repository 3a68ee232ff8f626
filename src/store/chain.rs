//! Families without a session: rows whose `session_id` is NULL, held together by `parent` alone.

use super::plan::plan;
use super::row::{column, required, timestamp, timestamp_argument, uuid, uuid_argument};
use super::{Claim, Held, Store};
use crate::digest::Digest;
use crate::error::Error;
use crate::grant::TokenRow;
use crate::session::Session;
use crate::time::Timestamp;
use crate::verdict::{Live, Presented};
use pgrx::spi::SpiTupleTable;
use uuid::Uuid;

plan!(
    LOCK_CHAIN,
    fresh,
    "chain.sql" + "FOR NO KEY UPDATE OF t",
    [TEXTOID]
);
plan!(READ_CHAIN, stable, "chain.sql", [TEXTOID]);
plan!(
    ADOPT,
    fresh,
    "adopt.sql",
    [
        INT8ARRAYOID,
        INT8OID,
        UUIDOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID
    ]
);
plan!(
    REVOKE_ROWS,
    fresh,
    "revoke_rows.sql",
    [INT8ARRAYOID, TIMESTAMPTZOID]
);

/// The rows of a family without a session, in the order of their ids.
pub struct Chain(Vec<Link>);

struct Link {
    row: TokenRow,
    live: bool,
    updated_at: Option<Timestamp>,
    user_id: Option<String>,
    token: Option<String>,
    parent: Option<String>,
}

impl Store<'_> {
    /// The rows without a session that hang together with `value`, locked.
    pub(super) fn lock_chain(&self, value: &str) -> Result<Chain, Error> {
        links(LOCK_CHAIN.run(self.client, &[value.into()])?)
    }

    /// The rows without a session that hang together with `value`.
    pub(super) fn read_chain(&self, value: &str) -> Result<Chain, Error> {
        links(READ_CHAIN.run(self.client, &[value.into()])?)
    }

    /// Gives `chain` the session with `id` that `session` describes.
    pub fn adopt(
        &self,
        chain: &Chain,
        presented: i64,
        id: Uuid,
        session: &Session,
        at: Timestamp,
    ) -> Result<(), Error> {
        let arguments = [
            chain.ids().into(),
            presented.into(),
            uuid_argument(id),
            session.user_id.as_deref().into(),
            timestamp_argument(session.created_at),
            timestamp_argument(at),
        ];
        ADOPT.run(self.client, &arguments).map(drop)
    }

    /// Revokes the live tokens of `chain` and gives their ids.
    pub fn revoke_chain(&self, chain: &Chain, at: Timestamp) -> Result<Vec<i64>, Error> {
        let arguments = [chain.ids().into(), timestamp_argument(at)];
        required(&REVOKE_ROWS.run(self.client, &arguments)?.first(), 1)
    }
}

impl Chain {
    /// Whether no row without a session was found: somebody gave it one meanwhile.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn ids(&self) -> Vec<i64> {
        self.0.iter().map(|link| link.row.id).collect()
    }

    /// The family as seen from the token with `digest`, with the session that it would be given: the
    /// user of the presented row, as old as the oldest row, last refreshed when the newest was minted.
    pub(super) fn held(self, digest: &Digest, now: Timestamp) -> Claim {
        let is_presented = |link: &&Link| link.token.as_deref() == Some(digest.as_str());
        let Some(presented) = self.0.iter().find(is_presented) else {
            return Claim::Raced;
        };
        let live = self.0.iter().rfind(|link| link.live && !presented.live);
        let minted = || self.0.iter().filter_map(|link| link.row.created_at);
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
        let mut held = Held::new(session, state, presented.row, None, now);
        held.facts.live = live.map(|live| Live {
            replaced_presented: live.parent == presented.token,
        });
        held.live = live.map(|live| (live.row, live.token.clone().unwrap_or_default()));
        held.chain = Some(self);
        Claim::Held(Box::new(held))
    }
}

fn links(table: SpiTupleTable<'_>) -> Result<Chain, Error> {
    let mut links = Vec::with_capacity(table.len());
    let mut rows = table;
    while rows.next().is_some() {
        links.push(Link {
            row: TokenRow {
                id: required(&rows, 1)?,
                instance_id: uuid(&rows, 2)?,
                created_at: timestamp(&rows, 4)?,
            },
            live: required(&rows, 3)?,
            updated_at: timestamp(&rows, 5)?,
            user_id: column(&rows, 6)?,
            token: column(&rows, 7)?,
            parent: column(&rows, 8)?,
        });
    }
    Ok(Chain(links))
}

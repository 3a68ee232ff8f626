//! Families without a session: rows whose `session_id` is NULL, held together by `parent` alone.

use crate::error::Error;
use crate::store::Store;
use crate::store::plan::plan;
use crate::store::row::{
    column, required, rows, timestamp, timestamp_argument, uuid, uuid_argument,
};
use pgrx::spi::SpiTupleTable;
use refresh_tokens_core::sessions::Session;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::verdict::TokenRow;
use uuid::Uuid;

plan!(
    LOCK_ORPHANS,
    fresh,
    "orphan_family.sql" + "FOR NO KEY UPDATE OF t",
    [TEXTOID]
);
plan!(READ_ORPHANS, stable, "orphan_family.sql", [TEXTOID]);
plan!(
    CREATE_SESSION,
    fresh,
    "create_session.sql",
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
    LOCK_NEXT_ORPHANS,
    fresh,
    "lock_next_orphans.sql",
    [INT8OID, INT8OID]
);
plan!(
    REVOKE_ROWS,
    fresh,
    "revoke_rows.sql",
    [INT8ARRAYOID, TIMESTAMPTZOID]
);

/// The rows of a family without a session, in the order of their ids.
pub struct OrphanFamily(pub(super) Vec<Orphan>);

pub(super) struct Orphan {
    pub(super) row: TokenRow,
    pub(super) live: bool,
    pub(super) updated_at: Option<Timestamp>,
    pub(super) user_id: Option<String>,
    pub(super) token: Option<String>,
    pub(super) parent: Option<String>,
}

impl Store<'_> {
    /// The rows without a session that hang together with `value`, locked.
    pub(in crate::store) fn lock_orphans(&self, value: &str) -> Result<OrphanFamily, Error> {
        orphans(LOCK_ORPHANS.run(self.client, &[value.into()])?)
    }

    /// The rows without a session that hang together with `value`.
    pub(in crate::store) fn read_orphans(&self, value: &str) -> Result<OrphanFamily, Error> {
        orphans(READ_ORPHANS.run(self.client, &[value.into()])?)
    }

    /// Gives `orphans` the session with `id` that `session` describes.
    pub fn create_session_for(
        &self,
        orphans: &OrphanFamily,
        presented: i64,
        id: Uuid,
        session: &Session,
        at: Timestamp,
    ) -> Result<(), Error> {
        let arguments = [
            orphans.ids().into(),
            presented.into(),
            uuid_argument(id),
            session.user_id.as_deref().into(),
            timestamp_argument(session.created_at),
            timestamp_argument(at),
        ];
        CREATE_SESSION.run(self.client, &arguments).map(drop)
    }

    /// Revokes the live tokens of `orphans` and gives their ids.
    pub fn revoke_orphans(&self, orphans: &OrphanFamily, at: Timestamp) -> Result<Vec<i64>, Error> {
        self.revoke_orphan_tokens(&orphans.ids(), at)
    }

    /// Locks the next live tokens without a session, up to so many, beginning after the token `after`; gives their ids in
    /// their order.
    pub fn lock_next_orphans(&self, after: i64, rows: i64) -> Result<Vec<i64>, Error> {
        let table = LOCK_NEXT_ORPHANS.run(self.client, &[after.into(), rows.into()])?;
        crate::store::row::rows(table, |row| required(row, "token_id"))
    }

    /// Revokes the locked tokens `ids`, which have no session, and gives the ids of those that were live.
    pub fn revoke_orphan_tokens(&self, ids: &[i64], at: Timestamp) -> Result<Vec<i64>, Error> {
        let arguments = [ids.to_vec().into(), timestamp_argument(at)];
        required(
            &REVOKE_ROWS.run(self.client, &arguments)?.first(),
            "revoked",
        )
    }
}

impl OrphanFamily {
    /// Whether no row without a session was found: somebody gave it one meanwhile.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn ids(&self) -> Vec<i64> {
        self.0.iter().map(|orphan| orphan.row.id).collect()
    }
}

fn orphans(table: SpiTupleTable<'_>) -> Result<OrphanFamily, Error> {
    let orphans = rows(table, |row| {
        Ok(Orphan {
            row: TokenRow {
                id: required(row, "token_id")?,
                instance_id: uuid(row, "instance_id")?,
                created_at: timestamp(row, "created_at")?,
            },
            live: required(row, "is_live")?,
            updated_at: timestamp(row, "updated_at")?,
            user_id: column(row, "user_id")?,
            token: column(row, "token")?,
            parent: column(row, "parent")?,
        })
    })?;
    Ok(OrphanFamily(orphans))
}

//! What keeps a session from being deleted: rows of an application's tables that refer to it, by a foreign key that says
//! nothing of ON DELETE.

use crate::error::Error;
use crate::store::acting_as::ActingAs;
use crate::store::plan::plan;
use crate::store::row::{required, rows, timestamp, timestamp_argument, uuid, uuids_argument};
use crate::store::{Store, read};
use pgrx::pg_sys;
use refresh_tokens_core::time::Timestamp;
use std::collections::HashSet;
use uuid::Uuid;

plan!(REFERENCES, fresh, "references.sql", []);
plan!(
    ENDED_PAGE,
    fresh,
    "ended_page.sql",
    [TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID]
);

/// How many sessions are looked at together: enough that a referring table without an index is not read too often.
const PAGE: i64 = 10_000;

/// A foreign key to `auth.sessions`.
pub(super) struct Reference {
    name: String,
    table: String,
    column: String,
    is_partitioned: bool,
    owner: pg_sys::Oid,
}

/// How many sessions a foreign key keeps.
pub struct Kept {
    /// The referring table, as SQL names it.
    pub table: String,
    /// The foreign key.
    pub constraint: String,
    /// How many sessions that are due it refers to.
    pub sessions: i64,
}

/// Where a page of ended sessions begins: after this one, by its end and its id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(Timestamp, Uuid);

impl Place {
    pub(super) const BEGINNING: Self = Self(Timestamp::BEGINNING, Uuid::nil());
}

/// What keeps sessions that are due from being purged. A purge that is complete leaves these alone.
pub fn kept_sessions() -> Result<Vec<Kept>, Error> {
    read(|store| {
        let over = store.horizon()?.over;
        let references = store.references()?;
        let mut kept: Vec<_> = references.iter().map(|_| 0_i64).collect();
        let mut place = Place::BEGINNING;
        while !references.is_empty() {
            let Some((page, last)) = store.ended_page(over, place)? else {
                break;
            };
            for (reference, kept) in references.iter().zip(&mut kept) {
                *kept += store.referred_by(reference, &page)?.len() as i64;
            }
            place = last;
        }
        let kept = references.into_iter().zip(kept);
        let kept = kept.map(|(reference, sessions)| Kept {
            table: reference.table,
            constraint: reference.name,
            sessions,
        });
        Ok(kept.filter(|kept| kept.sessions > 0).collect())
    })
}

impl Store<'_> {
    /// The foreign keys that keep sessions from being deleted.
    pub(super) fn references(&self) -> Result<Vec<Reference>, Error> {
        rows(REFERENCES.run(self.client, &[])?, |row| {
            Ok(Reference {
                name: required(row, "name")?,
                table: required(row, "referring_table")?,
                column: required(row, "referring_column")?,
                is_partitioned: required(row, "is_partitioned")?,
                owner: required(row, "owner")?,
            })
        })
    }

    /// The next sessions that ended before `over`, and where the page after them begins; none: there are no more.
    pub(super) fn ended_page(
        &self,
        over: Timestamp,
        Place(end, id): Place,
    ) -> Result<Option<(Vec<Uuid>, Place)>, Error> {
        let arguments = [
            timestamp_argument(over),
            timestamp_argument(end),
            pgrx::Uuid::from_bytes(id.into_bytes()).into(),
            PAGE.into(),
        ];
        let page = rows(ENDED_PAGE.run(self.client, &arguments)?, |row| {
            let end = timestamp(row, "not_after")?.ok_or(Error::UnexpectedNull)?;
            let id = uuid(row, "session_id")?.ok_or(Error::UnexpectedNull)?;
            Ok(Place(end, id))
        })?;
        let ids = page.iter().map(|Place(_, id)| *id).collect();
        Ok(page.last().map(|&last| (ids, last)))
    }

    /// Those of `sessions` that any of `references` refers to.
    pub(super) fn referred(
        &self,
        references: &[Reference],
        sessions: &[Uuid],
    ) -> Result<HashSet<Uuid>, Error> {
        let mut referred = HashSet::new();
        for reference in references {
            referred.extend(self.referred_by(reference, sessions)?);
        }
        Ok(referred)
    }

    /// Those of `sessions` that `reference` refers to, as they are now. Asked as PostgreSQL's own check of the key asks:
    /// by the owner of the referring table, which nobody else need be able to read.
    fn referred_by(&self, reference: &Reference, sessions: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        let Reference { table, column, .. } = reference;
        let only = if reference.is_partitioned { "" } else { "ONLY" };
        let sql = format!(
            "SELECT DISTINCT s.id AS session_id
               FROM pg_catalog.unnest($1) AS s (id)
               JOIN {only} {table} AS r ON r.{column} OPERATOR(pg_catalog.=) s.id"
        );
        let types = [pg_sys::PgOid::from(pg_sys::UUIDARRAYOID)];
        let _owner = ActingAs::switch(reference.owner, pg_sys::SECURITY_NOFORCE_RLS);
        // Prepared as what writes, so that it sees what was committed before it began.
        let statement = self.client.prepare_mut(sql.as_str(), &types)?;
        let found = self
            .client
            .select(&statement, None, &[uuids_argument(sessions)])?;
        rows(found, |row| {
            uuid(row, "session_id")?.ok_or(Error::UnexpectedNull)
        })
    }
}

//! Families: found by a value of theirs, revoked, drawn.

use super::plan::plan;
use super::row::{column, required, timestamp, uuid_argument, uuid_array};
use super::{Store, now};
use crate::error::Error;
use crate::family::Member;
use uuid::Uuid;

plan!(FAMILIES, fresh, "families.sql", [TEXTOID]);
plan!(MEMBERS, stable, "members.sql", [UUIDOID]);

/// How often a family that is given a session in the same moment is looked for again.
const ATTEMPTS: usize = 3;

impl Store<'_> {
    /// Revokes the family that descends from `value`, and gives the ids of the tokens that were live
    /// till then.
    ///
    /// `value` is a digest, or whatever else the table's columns `token` and `parent` show.
    pub fn revoke_family(&self, value: &str) -> Result<Vec<i64>, Error> {
        let mut revoked = Vec::new();
        for _ in 0..ATTEMPTS {
            let found = FAMILIES.run(self.client, &[value.into()])?.first();
            let sessions = uuid_array(&found, 1)?;
            if !sessions.is_empty() {
                let locked = self.lock_sessions(&sessions)?;
                revoked.extend(self.end_sessions(&locked, now())?);
            }
            if !required(&found, 2)? {
                return Ok(revoked);
            }
            let chain = self.lock_chain(value)?;
            if !chain.is_empty() {
                revoked.extend(self.revoke_chain(&chain, now())?);
                return Ok(revoked);
            }
        }
        Err(Error::Contended)
    }

    /// All tokens of `session`, in the order of their ids.
    pub fn members(&self, session: Uuid) -> Result<Vec<Member>, Error> {
        let mut rows = MEMBERS.run(self.client, &[uuid_argument(session)])?;
        let mut members = Vec::with_capacity(rows.len());
        while rows.next().is_some() {
            members.push(Member {
                id: required(&rows, 1)?,
                digest: column(&rows, 2)?,
                parent: column(&rows, 3)?,
                revoked: !required::<bool>(&rows, 4)?,
                created_at: timestamp(&rows, 5)?,
                updated_at: timestamp(&rows, 6)?,
            });
        }
        Ok(members)
    }
}

//! Families: found by a value of theirs, revoked, drawn.

use crate::error::Error;
use crate::store::plan::plan;
use crate::store::row::{column, required, rows, timestamp, uuid_argument, uuid_array};
use crate::store::{Store, now};
use refresh_tokens_core::family_tree::Member;
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
            let sessions = uuid_array(&found, "sessions")?;
            if !sessions.is_empty() {
                let locked = self.lock_sessions(&sessions)?;
                revoked.extend(self.end_sessions(&locked, now())?);
            }
            if !required(&found, "has_orphans")? {
                return Ok(revoked);
            }
            let orphans = self.lock_orphans(value)?;
            if !orphans.is_empty() {
                revoked.extend(self.revoke_orphans(&orphans, now())?);
                return Ok(revoked);
            }
        }
        Err(Error::Contended)
    }

    /// All tokens of `session`, in the order of their ids.
    pub fn members(&self, session: Uuid) -> Result<Vec<Member>, Error> {
        rows(
            MEMBERS.run(self.client, &[uuid_argument(session)])?,
            |row| {
                Ok(Member {
                    id: required(row, "token_id")?,
                    digest: column(row, "token")?,
                    parent: column(row, "parent")?,
                    revoked: !required::<bool>(row, "is_live")?,
                    created_at: timestamp(row, "created_at")?,
                    updated_at: timestamp(row, "updated_at")?,
                })
            },
        )
    }
}

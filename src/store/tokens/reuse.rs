//! A reuse that was detected: the family's end, now or by a worker later.

use super::lookup::{Family, Lookup};
use super::rotate::Caller;
use crate::error::Error;
use crate::store::plan::plan;
use crate::store::row::{column, first, optional_timestamp_argument};
use crate::store::{Store, now};
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::Digest;
use refresh_tokens_core::verdict::{Event, Presented, Reuse};

plan!(TOKEN, fresh, "token.sql", [INT8OID, TIMESTAMPTZOID]);

/// A reuse as it was detected, with what the settings then asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedReuse {
    /// Which token was presented.
    pub kind: Reuse,
    /// The row of that token.
    pub token_id: i64,
    /// When that token was revoked; none: its row doesn't tell.
    pub revoked_at: Option<Timestamp>,
    /// When it was presented.
    pub at: Timestamp,
    /// Whether it ends the family.
    pub ends_family: bool,
    /// Whether it is recorded as an event.
    pub is_recorded: bool,
    /// Whether that event is sent.
    pub notifies: bool,
    /// The user agent of whoever presented it.
    pub user_agent: Option<String>,
    /// The address of whoever presented it.
    pub ip: Option<pgrx::Inet>,
}

impl Store<'_> {
    /// Revokes the family of `family`, which is locked, and ends its session.
    pub fn end_family(&self, family: &Family, at: Timestamp) -> Result<(), Error> {
        match (&family.orphans, family.facts.session.id) {
            (Some(orphans), _) => self.revoke_orphans(orphans, at)?,
            (None, Some(id)) => self.end_sessions(&[id], at)?,
            (None, None) => Vec::new(),
        };
        Ok(())
    }

    /// Does what the transaction that detected `reuse` did and undid: ends the family, and records the event. Where it was
    /// committed both are there, and nothing happens. Nor does it where that transaction itself had revoked the token: what
    /// was undone with it was no reuse.
    pub fn end_reused(&self, reuse: &DetectedReuse) -> Result<(), Error> {
        let revoked_at = optional_timestamp_argument(reuse.revoked_at);
        let row = TOKEN.run(self.client, &[reuse.token_id.into(), revoked_at])?;
        let digest = first(row, |row| column::<String>(row, "token"))?.flatten();
        let Some(digest) = digest.as_deref().and_then(Digest::from_column) else {
            return Ok(());
        };
        match self.lock(&digest)? {
            Lookup::LockedFamily(family)
                if family.facts.presented == Presented::Revoked(reuse.revoked_at) =>
            {
                self.end_family_of(reuse, &family)
            }
            _ => Ok(()),
        }
    }

    fn end_family_of(&self, reuse: &DetectedReuse, family: &Family) -> Result<(), Error> {
        if reuse.ends_family && family.facts.live.is_some() {
            self.end_family(family, now())?;
        }
        if reuse.is_recorded {
            let caller = Caller {
                user_agent: reuse.user_agent.as_deref(),
                ip: reuse.ip.clone(),
            };
            let event = Event::ReuseDetected(reuse.kind);
            let tokens = [reuse.token_id];
            self.record(event, &tokens, reuse.at, &caller, reuse.notifies)?;
        }
        Ok(())
    }
}

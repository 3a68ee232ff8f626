//! The cap on a user's sessions: logins of one user wait for each other, and count what is live.

use super::session_ids;
use crate::error::Error;
use crate::store::plan::plan;
use crate::store::row::timestamp_argument;
use crate::store::{Store, snapshot};
use pgrx::pg_sys;
use refresh_tokens_core::sessions::Policy;
use refresh_tokens_core::time::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

plan!(
    LIVE_SESSIONS,
    fresh,
    "live_sessions.sql",
    [
        TEXTOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID
    ]
);
/// How many locks all logins share. One transaction holds so many at the most; the lock table of a server with
/// PostgreSQL's defaults has room for 6,400.
const LOGIN_LOCKS: u16 = 1024;

impl Store<'_> {
    /// Waits until no other login of `user_id` with `tag` is under way, and keeps others waiting until
    /// the transaction ends. Sessions that don't exist yet can't be locked; and an advisory lock could
    /// be taken, and a user locked out, by any role that can compute its key. So this locks a made-up object: the
    /// lock table asks only that all agree on its number (docs/decisions.md#why-there-are-locks-on-made-up-objects).
    ///
    /// There are [`LOGIN_LOCKS`] such objects, so that logins by the thousand in one transaction don't fill the
    /// server's lock table. Two users who share one wait for each other's transaction.
    pub fn serialize_logins(&self, user_id: &str, tag: Option<&str>) {
        let mut hash = Sha256::new();
        hash.update(user_id);
        hash.update(tag.map_or([0, 0], |_| [0, 1]));
        hash.update(tag.unwrap_or_default());
        let [a, b, ..] = hash.finalize().0;
        let object = 1 + u32::from(u16::from_be_bytes([a, b]) % LOGIN_LOCKS);
        // SAFETY: takes numbers only. What the class means to others is a lock on an extension of that
        // OID; no extension has one below 10,000, which belong to what is in the catalogs from the start.
        unsafe {
            pg_sys::LockDatabaseObject(
                pg_sys::ExtensionRelationId,
                object.into(),
                0,
                pg_sys::ExclusiveLock as pg_sys::LOCKMODE,
            );
        }
    }

    /// The live sessions of `user_id` with `tag`, the one refreshed last first.
    ///
    /// # Errors
    /// 40001 where the transaction's snapshot hides sessions that were committed since: the caller
    /// would count too few.
    pub fn live_sessions(
        &self,
        user_id: &str,
        tag: Option<&str>,
        policy: &Policy,
        at: Timestamp,
    ) -> Result<Vec<Uuid>, Error> {
        let arguments = [
            user_id.into(),
            tag.into(),
            timestamp_argument(at),
            timestamp_argument(at.minus(policy.session_lifetime)),
            timestamp_argument(at.minus(policy.idle_timeout)),
        ];
        let visible = session_ids(LIVE_SESSIONS.run(self.client, &arguments)?)?;
        if snapshot::uses_transaction_snapshot()
            && snapshot::count(&LIVE_SESSIONS, &arguments)? != visible.len()
        {
            return Err(Error::Contended);
        }
        Ok(visible)
    }
}

//! Issuing: a login's session and first token, or a new token in a session; and the sessions' cap.

use super::plan::plan;
use super::row::{
    optional_timestamp_argument, optional_uuid_argument, required, timestamp_argument, uuid,
    uuid_argument,
};
use super::sessions::uuids;
use super::{Store, latest};
use crate::digest::Digest;
use crate::error::Error;
use crate::grant::TokenRow;
use crate::policy::Policy;
use crate::time::Timestamp;
use pgrx::pg_sys;
use pgrx::spi::SpiTupleTable;
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
plan!(
    ISSUE,
    fresh,
    "issue.sql",
    [
        UUIDOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TEXTOID,
        UUIDOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TEXTOID,
        INETOID
    ]
);
plan!(
    ISSUE_INTO,
    fresh,
    "issue_into.sql",
    [
        UUIDOID,
        TIMESTAMPTZOID,
        TEXTOID,
        UUIDOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TEXTOID,
        INETOID
    ]
);

/// How many locks all logins share. One transaction holds so many at the most; the lock table of a server with
/// PostgreSQL's defaults has room for 6,400.
const LOGIN_LOCKS: u16 = 1024;

/// What the application says about a session when it issues a token.
#[derive(Default)]
pub struct NewSession<'a> {
    /// The tenant or installation that the token belongs to.
    pub instance_id: Option<Uuid>,
    /// The OAuth client that the session's tokens are bound to.
    pub client_id: Option<&'a str>,
    /// The scopes that the user consented to.
    pub scopes: Option<&'a str>,
    /// The authentication assurance level, a label of `auth.aal_level`.
    pub aal: Option<&'a str>,
    /// The kind of device or login that `max_sessions_per_user` is counted for.
    pub tag: Option<&'a str>,
    /// When the session ends, whatever the settings say.
    pub not_after: Option<Timestamp>,
    /// The client's user agent.
    pub user_agent: Option<&'a str>,
    /// The client's address.
    pub ip: Option<pgrx::Inet>,
}

impl Store<'_> {
    /// Waits until no other login of `user_id` with `tag` is under way, and keeps others waiting until
    /// the transaction ends. Sessions that don't exist yet can't be locked; and an advisory lock could
    /// be taken, and a user locked out, by any role that can compute its key. So this locks an object
    /// that is no object: the lock table asks only that all agree on its number.
    ///
    /// There are [`LOGIN_LOCKS`] such objects, so that logins by the thousand in one transaction don't fill the
    /// server's lock table. Two users who share one wait for each other's transaction.
    pub fn lock_logins(&self, user_id: &str, tag: Option<&str>) {
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
            timestamp_argument(at.before(policy.session_lifetime)),
            timestamp_argument(at.before(policy.idle_timeout)),
        ];
        let visible = uuids(LIVE_SESSIONS.run(self.client, &arguments)?)?;
        if latest::is_hidden() && latest::count(&LIVE_SESSIONS, &arguments)? != visible.len() {
            return Err(Error::Contended);
        }
        Ok(visible)
    }

    /// Opens the session `id` of `user_id` with its first token.
    pub fn issue(
        &self,
        id: Uuid,
        user_id: &str,
        digest: &Digest,
        new: NewSession<'_>,
        at: Timestamp,
    ) -> Result<TokenRow, Error> {
        let arguments = [
            uuid_argument(id),
            user_id.into(),
            timestamp_argument(at),
            digest.as_str().into(),
            optional_uuid_argument(new.instance_id),
            new.client_id.into(),
            new.scopes.into(),
            new.aal.into(),
            new.tag.into(),
            optional_timestamp_argument(new.not_after),
            new.user_agent.into(),
            new.ip.into(),
        ];
        issued(ISSUE.run(self.client, &arguments)?, at)
    }

    /// Issues a token into the locked session `id`, in place of its live one.
    pub fn issue_into(
        &self,
        id: Uuid,
        digest: &Digest,
        new: NewSession<'_>,
        at: Timestamp,
    ) -> Result<TokenRow, Error> {
        let arguments = [
            uuid_argument(id),
            timestamp_argument(at),
            digest.as_str().into(),
            optional_uuid_argument(new.instance_id),
            new.scopes.into(),
            new.aal.into(),
            new.tag.into(),
            optional_timestamp_argument(new.not_after),
            new.user_agent.into(),
            new.ip.into(),
        ];
        issued(ISSUE_INTO.run(self.client, &arguments)?, at)
    }
}

fn issued(table: SpiTupleTable<'_>, at: Timestamp) -> Result<TokenRow, Error> {
    let row = table.first();
    Ok(TokenRow {
        id: required(&row, 1)?,
        instance_id: uuid(&row, 2)?,
        created_at: Some(at),
    })
}

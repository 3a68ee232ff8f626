//! Sessions: locked, ended, looked at.

use super::plan::plan;
use super::present::session;
use super::row::{column, required, timestamp_argument, uuid, uuid_argument, uuids_argument};
use super::{Store, now};
use crate::digest::Digest;
use crate::error::Error;
use crate::session::Session;
use crate::time::Timestamp;
use pgrx::spi::SpiTupleTable;
use uuid::Uuid;

plan!(LOCK_SESSIONS, fresh, "lock_sessions.sql", [UUIDARRAYOID]);
plan!(
    LOCK_USER_SESSIONS,
    fresh,
    "lock_user_sessions.sql",
    [TEXTOID, UUIDOID]
);
plan!(
    END_SESSIONS,
    fresh,
    "end_sessions.sql",
    [UUIDARRAYOID, TIMESTAMPTZOID]
);
plan!(
    USER_SESSIONS,
    stable,
    "user_sessions.sql",
    [TEXTOID, TIMESTAMPTZOID]
);
plan!(CLIENT, stable, "client.sql", [TEXTOID]);
plan!(SCOPES, stable, "scopes.sql", [UUIDOID]);
plan!(SESSION, stable, "session.sql", [UUIDOID]);

/// A session as its user knows it: a login on some device.
pub struct Device {
    /// The session.
    pub session: Session,
    /// The client's address, as last given.
    pub ip: Option<pgrx::Inet>,
    /// The client's user agent, as last given.
    pub user_agent: Option<String>,
    /// The application's tag.
    pub tag: Option<String>,
    /// The label of the assurance level.
    pub aal: Option<String>,
    /// How often the session was rotated.
    pub rotations: i64,
}

impl Store<'_> {
    /// The session `id`, as it is.
    pub fn session(&self, id: Uuid) -> Result<Option<Session>, Error> {
        let row = SESSION.run(self.client, &[uuid_argument(id)])?;
        if row.is_empty() {
            return Ok(None);
        }
        session(&row.first(), 1)
    }

    /// The client that the session of the token with `digest` is bound to.
    pub fn client_of(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let row = CLIENT.run(self.client, &[digest.as_str().into()])?;
        if row.is_empty() {
            return Ok(None);
        }
        column(&row.first(), 1)
    }

    /// The scopes of the session `id`.
    pub fn scopes(&self, id: Uuid) -> Result<Option<String>, Error> {
        let row = SCOPES.run(self.client, &[uuid_argument(id)])?;
        if row.is_empty() {
            return Ok(None);
        }
        column(&row.first(), 1)
    }

    /// The sessions of `user_id` that were not ended, the one refreshed last first.
    pub fn user_sessions(&self, user_id: &str) -> Result<Vec<Device>, Error> {
        let arguments = [user_id.into(), timestamp_argument(now())];
        let mut rows = USER_SESSIONS.run(self.client, &arguments)?;
        let mut devices = Vec::with_capacity(rows.len());
        while rows.next().is_some() {
            devices.push(Device {
                session: session(&rows, 1)?.ok_or(Error::UnexpectedNull)?,
                ip: column(&rows, 8)?,
                user_agent: column(&rows, 9)?,
                tag: column(&rows, 10)?,
                aal: column(&rows, 11)?,
                rotations: column(&rows, 12)?.unwrap_or(0),
            });
        }
        Ok(devices)
    }

    /// The session `id`, locked.
    pub fn lock_session(&self, id: Uuid) -> Result<Option<Session>, Error> {
        let row = LOCK_SESSIONS.run(self.client, &[uuids_argument(&[id])])?;
        if row.is_empty() {
            return Ok(None);
        }
        session(&row.first(), 1)
    }

    /// Locks those of the sessions `ids` that exist, and gives their ids.
    pub fn lock_sessions(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        uuids(LOCK_SESSIONS.run(self.client, &[uuids_argument(ids)])?)
    }

    /// Locks the sessions of `user_id` that nobody has ended, but for `except`, and gives their ids.
    pub fn lock_user_sessions(
        &self,
        user_id: &str,
        except: Option<Uuid>,
    ) -> Result<Vec<Uuid>, Error> {
        let except = except.map(|id| pgrx::Uuid::from_bytes(id.into_bytes()));
        let arguments = [user_id.into(), except.into()];
        uuids(LOCK_USER_SESSIONS.run(self.client, &arguments)?)
    }

    /// Ends the locked sessions `ids` and gives the ids of the tokens that were live till then.
    pub fn end_sessions(&self, ids: &[Uuid], at: Timestamp) -> Result<Vec<i64>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [uuids_argument(ids), timestamp_argument(at)];
        required(&END_SESSIONS.run(self.client, &arguments)?.first(), 1)
    }
}

/// The first column of each row, an id.
pub(super) fn uuids(table: SpiTupleTable<'_>) -> Result<Vec<Uuid>, Error> {
    let mut ids = Vec::with_capacity(table.len());
    let mut rows = table;
    while rows.next().is_some() {
        ids.push(uuid(&rows, 1)?.ok_or(Error::UnexpectedNull)?);
    }
    Ok(ids)
}

//! Sessions: locked, ended, looked at.

use crate::store::plan::plan;
mod cap;

use super::row::{
    column, first, optional_uuid_argument, required, rows, timestamp, timestamp_argument, uuid,
    uuid_argument, uuids_argument,
};
use super::tokens::Caller;
use super::{Store, now};
use crate::error::Error;
use pgrx::spi::SpiTupleTable;
use refresh_tokens_core::sessions::Session;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::Digest;
use uuid::Uuid;

plan!(LOCK_SESSIONS, fresh, "lock_sessions.sql", [UUIDARRAYOID]);
plan!(
    LOCK_USER_SESSIONS,
    fresh,
    "lock_user_sessions.sql",
    [TEXTOID, UUIDOID]
);
plan!(
    LOCK_NEXT_SESSIONS,
    fresh,
    "lock_next_sessions.sql",
    [UUIDOID, INT8OID]
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
plan!(
    TOUCH,
    fresh,
    "touch.sql",
    [UUIDOID, TIMESTAMPTZOID, TEXTOID, INETOID]
);

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
        Ok(first(row, session)?.flatten())
    }

    /// The client that the session of the token with `digest` is bound to.
    pub fn client_of(&self, digest: &Digest) -> Result<Option<String>, Error> {
        let row = CLIENT.run(self.client, &[digest.as_str().into()])?;
        Ok(first(row, |row| column(row, "oauth_client_id"))?.flatten())
    }

    /// The scopes of the session `id`.
    pub fn scopes(&self, id: Uuid) -> Result<Option<String>, Error> {
        let row = SCOPES.run(self.client, &[uuid_argument(id)])?;
        Ok(first(row, |row| column(row, "scopes"))?.flatten())
    }

    /// The sessions of `user_id` that were not ended, the one refreshed last first.
    pub fn user_sessions(&self, user_id: &str) -> Result<Vec<Device>, Error> {
        let arguments = [user_id.into(), timestamp_argument(now())];
        rows(USER_SESSIONS.run(self.client, &arguments)?, |row| {
            Ok(Device {
                session: session(row)?.ok_or(Error::UnexpectedNull)?,
                ip: column(row, "ip")?,
                user_agent: column(row, "user_agent")?,
                tag: column(row, "tag")?,
                aal: column(row, "aal")?,
                rotations: column(row, "refresh_token_counter")?.unwrap_or(0),
            })
        })
    }

    /// The session `id`, locked.
    pub fn lock_session(&self, id: Uuid) -> Result<Option<Session>, Error> {
        let row = LOCK_SESSIONS.run(self.client, &[uuids_argument(&[id])])?;
        Ok(first(row, session)?.flatten())
    }

    /// Locks those of the sessions `ids` that exist, and gives their ids.
    pub fn lock_sessions(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, Error> {
        session_ids(LOCK_SESSIONS.run(self.client, &[uuids_argument(ids)])?)
    }

    /// Locks the sessions of `user_id` that nobody has ended, but for `except`, and gives their ids.
    pub fn lock_user_sessions(
        &self,
        user_id: &str,
        except: Option<Uuid>,
    ) -> Result<Vec<Uuid>, Error> {
        let except = except.map(|id| pgrx::Uuid::from_bytes(id.into_bytes()));
        let arguments = [user_id.into(), except.into()];
        session_ids(LOCK_USER_SESSIONS.run(self.client, &arguments)?)
    }

    /// Locks the next sessions that nobody has ended, up to so many, beginning after the session `after`; gives their ids
    /// in their order.
    pub fn lock_next_sessions(&self, after: Option<Uuid>, rows: i64) -> Result<Vec<Uuid>, Error> {
        let arguments = [optional_uuid_argument(after), rows.into()];
        session_ids(LOCK_NEXT_SESSIONS.run(self.client, &arguments)?)
    }

    /// Ends the locked sessions `ids` and gives the ids of the tokens that were live till then.
    pub fn end_sessions(&self, ids: &[Uuid], at: Timestamp) -> Result<Vec<i64>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [uuids_argument(ids), timestamp_argument(at)];
        required(
            &END_SESSIONS.run(self.client, &arguments)?.first(),
            "revoked",
        )
    }

    /// Records that a token of `session` was used and stays as it is.
    pub fn touch(&self, session: Uuid, at: Timestamp, caller: &Caller<'_>) -> Result<(), Error> {
        let arguments = [
            uuid_argument(session),
            timestamp_argument(at),
            caller.user_agent.into(),
            caller.ip.clone().into(),
        ];
        TOUCH.run(self.client, &arguments).map(drop)
    }
}

/// The column `session_id` of each row.
fn session_ids(table: SpiTupleTable<'_>) -> Result<Vec<Uuid>, Error> {
    rows(table, |row| {
        uuid(row, "session_id")?.ok_or(Error::UnexpectedNull)
    })
}

/// The session of a row; none if there is no session. A time that somebody has taken out is as long ago as can be, so
/// that whatever limit there is has passed.
pub(in crate::store) fn session(row: &SpiTupleTable<'_>) -> Result<Option<Session>, Error> {
    let Some(id) = uuid(row, "session_id")? else {
        return Ok(None);
    };
    let created_at = timestamp(row, "session_created_at")?;
    let updated_at = timestamp(row, "session_updated_at")?;
    Ok(Some(Session {
        id: Some(id),
        user_id: column(row, "user_id")?,
        client_id: column(row, "oauth_client_id")?,
        created_at: created_at.unwrap_or(Timestamp::BEGINNING),
        refreshed_at: timestamp(row, "refreshed_at")?,
        not_after: timestamp(row, "not_after")?,
        updated_at: updated_at.unwrap_or(Timestamp::BEGINNING),
    }))
}

//! Issuing: a login's session and first token, or a new token in a session.

use crate::error::Error;
use crate::store::Store;
use crate::store::plan::plan;
use crate::store::row::{
    optional_timestamp_argument, optional_uuid_argument, required, timestamp_argument, uuid,
    uuid_argument,
};
use pgrx::spi::SpiTupleTable;
use refresh_tokens_core::time::Timestamp;
use refresh_tokens_core::tokens::Digest;
use refresh_tokens_core::verdict::TokenRow;
use uuid::Uuid;

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
        id: required(&row, "token_id")?,
        instance_id: uuid(&row, "instance_id")?,
        created_at: Some(at),
    })
}

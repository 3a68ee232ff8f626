//! A rotation written, and what a retry is checked by.

use super::lookup::Family;
use crate::error::Error;
use crate::store::Store;
use crate::store::plan::plan;
use crate::store::row::{
    first, optional_uuid_argument, required, timestamp_argument, uuid_argument,
};
use crate::store::unlogged::Unlogged;
use refresh_tokens_core::tokens::{DerivationKey, Descent, Digest};
use refresh_tokens_core::verdict::TokenRow;
use uuid::Uuid;

plan!(
    ROTATE,
    fresh,
    "rotate.sql",
    [
        INT8OID,
        TEXTOID,
        TIMESTAMPTZOID,
        TEXTOID,
        TEXTOID,
        INETOID,
        UUIDOID
    ]
);
plan!(EXISTS, fresh, "exists.sql", [TEXTOID]);
plan!(HAS_CHILD, fresh, "has_child.sql", [TEXTOID]);
plan!(DESCENT, fresh, "descent.sql", [UUIDOID, TEXTARRAYOID]);

/// Who presents a token, as far as it is recorded.
#[derive(Default)]
pub struct Caller<'a> {
    /// The client's user agent; recorded if given.
    pub user_agent: Option<&'a str>,
    /// The client's address; recorded if given.
    pub ip: Option<pgrx::Inet>,
}

impl Store<'_> {
    /// Revokes the presented token of the locked `family` and inserts its child. None: the token is not live any more;
    /// nothing changed.
    pub fn rotate(
        &self,
        family: &Family,
        child: &Digest,
        key: &DerivationKey,
        caller: &Caller<'_>,
    ) -> Result<Option<TokenRow>, Error> {
        let id = match &family.locked_rows {
            Some(rows) => rows.rotate(child, family.now, key, caller)?,
            None => self.rotate_by_statement(family, child, key, caller)?,
        };
        Ok(id.map(|id| TokenRow {
            id,
            created_at: Some(family.now),
            ..family.row
        }))
    }

    /// The id of the child; none: the token is not live any more.
    fn rotate_by_statement(
        &self,
        family: &Family,
        child: &Digest,
        key: &DerivationKey,
        caller: &Caller<'_>,
    ) -> Result<Option<i64>, Error> {
        let key = key.to_column();
        let arguments = [
            family.row.id.into(),
            child.as_str().into(),
            timestamp_argument(family.now),
            key.as_str().into(),
            caller.user_agent.into(),
            caller.ip.clone().into(),
            optional_uuid_argument(family.facts.session.id),
        ];
        let _unlogged = Unlogged::new();
        first(ROTATE.run(self.client, &arguments)?, |row| {
            required(row, "token_id")
        })
    }

    /// Whether there is a token with `digest`.
    pub fn exists(&self, digest: &Digest) -> Result<bool, Error> {
        let found = EXISTS.run(self.client, &[digest.as_str().into()])?;
        required(&found.first(), "found")
    }

    /// Whether the token with `digest` was replaced by another one.
    pub fn has_child(&self, digest: &Digest) -> Result<bool, Error> {
        let found = HAS_CHILD.run(self.client, &[digest.as_str().into()])?;
        required(&found.first(), "found")
    }

    /// Whether each digest of `descent` is a row of `session`.
    pub fn descends(&self, session: Uuid, descent: &Descent) -> Result<bool, Error> {
        let digests: Vec<_> = descent.digests.iter().map(Digest::as_str).collect();
        let counted = DESCENT.run(self.client, &[uuid_argument(session), digests.into()])?;
        let rows: i64 = required(&counted.first(), "rows")?;
        Ok(usize::try_from(rows) == Ok(descent.digests.len()))
    }
}

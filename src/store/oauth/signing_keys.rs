//! Signing keys.

use crate::error::Error;
use crate::store::Store;
use crate::store::plan::{Plan, plan};
use crate::store::row::{
    column, rows, timestamp, timestamp_argument, uuid, uuid_argument, uuids_argument,
};
use crate::store::unlogged::Unlogged;
use refresh_tokens_core::oauth::signing::{KeyRing, SigningKey, UnusableKey};
use refresh_tokens_core::time::Timestamp;
use zeroize::Zeroizing;

plan!(SIGNING_KEYS, stable, "signing_keys.sql", []);
plan!(SIGNING_KEYS_FRESH, fresh, "signing_keys.sql", []);
plan!(
    ADD_SIGNING_KEY,
    fresh,
    "add_signing_key.sql",
    [
        UUIDOID,
        TEXTOID,
        TEXTOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        UUIDARRAYOID
    ]
);

impl Store<'_> {
    /// All signing keys.
    pub fn signing_keys(&self) -> Result<KeyRing, Error> {
        self.ring(&SIGNING_KEYS)
    }

    fn ring(&self, plan: &Plan) -> Result<KeyRing, Error> {
        let keys = rows(plan.run(self.client, &[])?, |row| {
            let columns = (
                uuid(row, "kid")?,
                column::<String>(row, "alg")?,
                timestamp(row, "active_at")?,
                column::<String>(row, "private_key")?.map(Zeroizing::new),
            );
            let (Some(kid), Some(alg), Some(active_at), Some(private_key)) = columns else {
                return Err(UnusableKey.into());
            };
            Ok(SigningKey::from_columns(
                kid,
                &alg,
                active_at,
                &private_key,
            )?)
        })?;
        Ok(KeyRing::new(keys))
    }

    /// Adds `key` and deletes the keys that verify nothing any more at `now`: of those that were there when it
    /// looked, so that a key of another transaction stays.
    pub fn add_signing_key(&self, key: &SigningKey, now: Timestamp) -> Result<(), Error> {
        let ring = self.ring(&SIGNING_KEYS_FRESH)?;
        let retired: Vec<_> = ring.retired(now).map(|key| key.kid).collect();
        let private_key = key.to_column();
        let arguments = [
            uuid_argument(key.kid),
            key.alg().into(),
            private_key.as_str().into(),
            timestamp_argument(key.active_at),
            timestamp_argument(now),
            uuids_argument(&retired),
        ];
        let _unlogged = Unlogged::new();
        ADD_SIGNING_KEY.run(self.client, &arguments).map(drop)
    }
}

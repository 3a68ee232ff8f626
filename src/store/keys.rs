//! Signing keys.

use super::Store;
use super::plan::plan;
use super::row::{column, timestamp, timestamp_argument, uuid, uuid_argument, uuids_argument};
use super::unlogged::Unlogged;
use crate::error::Error;
use crate::signing::{KeyRing, SigningKey, UnusableKey};
use crate::time::Timestamp;
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

    fn ring(&self, plan: &super::plan::Plan) -> Result<KeyRing, Error> {
        let mut rows = plan.run(self.client, &[])?;
        let mut keys = Vec::with_capacity(rows.len());
        while rows.next().is_some() {
            let columns = (
                uuid(&rows, 1)?,
                column::<String>(&rows, 2)?,
                timestamp(&rows, 3)?,
                column::<String>(&rows, 4)?.map(Zeroizing::new),
            );
            let (Some(kid), Some(alg), Some(active_at), Some(private_key)) = columns else {
                return Err(UnusableKey.into());
            };
            let key = SigningKey::from_columns(kid, &alg, active_at, &private_key)?;
            keys.push(key);
        }
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

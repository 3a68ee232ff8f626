//! Signing keys.

use super::Store;
use super::plan::plan;
use super::row::{required, timestamp, timestamp_argument, uuid, uuid_argument, uuids_argument};
use crate::error::Error;
use crate::signing::{KeyRing, SigningKey};
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
            let alg: String = required(&rows, 2)?;
            let private_key = Zeroizing::new(required::<String>(&rows, 4)?);
            keys.push(SigningKey::from_columns(
                uuid(&rows, 1)?.ok_or(Error::UnexpectedNull)?,
                &alg,
                timestamp(&rows, 3)?.ok_or(Error::UnexpectedNull)?,
                &private_key,
            )?);
        }
        Ok(KeyRing::new(keys))
    }

    /// Adds `key` and deletes the keys that verify nothing any more at `now`.
    pub fn add_signing_key(&self, key: &SigningKey, now: Timestamp) -> Result<(), Error> {
        let ring = self.ring(&SIGNING_KEYS_FRESH)?;
        let needed: Vec<_> = ring.verifying(now).map(|key| key.kid).collect();
        let private_key = key.to_column();
        let arguments = [
            uuid_argument(key.kid),
            key.alg().into(),
            private_key.as_str().into(),
            timestamp_argument(key.active_at),
            timestamp_argument(now),
            uuids_argument(&needed),
        ];
        ADD_SIGNING_KEY.run(self.client, &arguments).map(drop)
    }
}

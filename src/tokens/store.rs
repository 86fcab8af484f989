//! The key ring's table.

use ::entity::signing_keys;
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, EntityTrait};

use crate::db::{StoreError, Tx};

/// A key as it is kept.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) kid: String,
    pub(super) alg: String,
    pub(super) active: bool,
    /// An uncompressed point (SEC 1 §2.3.3).
    pub(super) public_key: Vec<u8>,
    /// PKCS #8, encrypted under the key's `kid`.
    pub(super) sealed_private_key: Vec<u8>,
}

pub(super) async fn all(tx: &Tx) -> Result<Vec<StoredKey>, StoreError> {
    let rows = signing_keys::Entity::find().all(tx).await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredKey {
            kid: row.kid,
            alg: row.alg,
            active: row.active_slot.is_some(),
            public_key: row.public_key,
            sealed_private_key: row.sealed_private_key,
        })
        .collect())
}

/// Inserts the key that signs from now on; [`StoreError::Unique`] if there is one already.
pub(super) async fn insert_active(tx: &Tx, key: &StoredKey, now: DateTime<Utc>) -> Result<(), StoreError> {
    let row = signing_keys::ActiveModel {
        kid: Set(key.kid.clone()),
        alg: Set(key.alg.clone()),
        status: Set("active".to_owned()),
        active_slot: Set(Some(1)),
        public_key: Set(key.public_key.clone()),
        sealed_private_key: Set(key.sealed_private_key.clone()),
        created_at: Set(now.timestamp_millis()),
    };
    signing_keys::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

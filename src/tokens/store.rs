//! The tables of the key ring and of what was revoked.

use ::entity::{revocations, signing_keys};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::Revocation;
use crate::clock::from_millis;
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
        activated_at: Set(Some(now.timestamp_millis())),
        retired_at: Set(None),
        gone_at: Set(None),
    };
    signing_keys::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Those with a higher number, lowest first.
pub(super) async fn revocations_after(
    tx: &Tx,
    seq: i64,
    limit: u16,
) -> Result<Vec<(i64, Revocation)>, StoreError> {
    let rows = revocations::Entity::find()
        .filter(revocations::Column::Seq.gt(seq))
        .order_by_asc(revocations::Column::Seq)
        .limit(u64::from(limit))
        .all(tx)
        .await?;
    let revocation = |row: revocations::Model| Revocation {
        subject: row.subject,
        minted_before: (row.minted_before < i64::MAX).then(|| from_millis(row.minted_before)),
        until: from_millis(row.until),
    };
    Ok(rows.into_iter().map(|row| (row.seq, revocation(row))).collect())
}

pub(super) async fn revoke(tx: &Tx, revocation: &Revocation) -> Result<(), StoreError> {
    let before = revocation.minted_before.map_or(i64::MAX, |before| before.timestamp_millis());
    let row = revocations::ActiveModel {
        subject: Set(revocation.subject),
        minted_before: Set(before),
        until: Set(revocation.until.timestamp_millis()),
        ..Default::default()
    };
    revocations::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Drops those that concern only tokens that have expired.
pub(super) async fn drop_revocations(tx: &Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = revocations::Entity::delete_many()
        .filter(revocations::Column::Until.lt(now.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

//! The tables of the key ring and of what was revoked.

use ::entity::{revocations, signing_keys};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::Revocation;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Published, so that everybody knows it before it signs.
    Standby,
    /// Signs.
    Active,
    /// Signed; verifies until the last of its tokens has expired.
    Retired,
}

impl Status {
    /// As it is kept and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "active" => Self::Active,
            "standby" => Self::Standby,
            _ => Self::Retired,
        }
    }
}

/// A key as it is kept.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) kid: String,
    pub(super) alg: String,
    pub(super) status: Status,
    /// See `algorithms::verifying`.
    pub(super) public_key: Vec<u8>,
    /// Encrypted under the key's `kid`.
    pub(super) sealed_private_key: Vec<u8>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) activated_at: Option<DateTime<Utc>>,
    pub(super) retired_at: Option<DateTime<Utc>>,
    pub(super) delete_at: Option<DateTime<Utc>>,
}

/// What changes when the ring does: a key and where it is in its life.
pub(super) type KeyVersion = (String, Status);

impl StoredKey {
    pub(super) fn key_version(&self) -> KeyVersion {
        (self.kid.clone(), self.status)
    }
}

impl From<signing_keys::Model> for StoredKey {
    fn from(row: signing_keys::Model) -> Self {
        Self {
            kid: row.kid,
            alg: row.alg,
            status: Status::named(&row.status),
            public_key: row.public_key,
            sealed_private_key: row.sealed_private_key,
            created_at: from_millis(row.created_at),
            activated_at: row.activated_at.map(from_millis),
            retired_at: row.retired_at.map(from_millis),
            delete_at: row.delete_at.map(from_millis),
        }
    }
}

/// Every key, the oldest first.
pub(super) async fn keys(tx: &Tx) -> Result<Vec<StoredKey>, StoreError> {
    let order = signing_keys::Entity::find().order_by_asc(signing_keys::Column::CreatedAt);
    Ok(order.all(tx).await?.into_iter().map(StoredKey::from).collect())
}

pub(super) async fn key_version(tx: &Tx) -> Result<Vec<KeyVersion>, StoreError> {
    let rows: Vec<(String, String)> = signing_keys::Entity::find()
        .select_only()
        .columns([signing_keys::Column::Kid, signing_keys::Column::Status])
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(|(kid, status)| (kid, Status::named(&status))).collect())
}

/// Inserts a key; [`StoreError::UniqueViolation`] if it is to be the active one and there is one.
pub(super) async fn insert_key(tx: &Tx, key: &StoredKey) -> Result<(), StoreError> {
    let millis = |at: DateTime<Utc>| at.timestamp_millis();
    let row = signing_keys::ActiveModel {
        kid: Set(key.kid.clone()),
        alg: Set(key.alg.clone()),
        status: Set(key.status.name().to_owned()),
        active_slot: Set((key.status == Status::Active).then_some(1)),
        public_key: Set(key.public_key.clone()),
        sealed_private_key: Set(key.sealed_private_key.clone()),
        created_at: Set(millis(key.created_at)),
        activated_at: Set(key.activated_at.map(millis)),
        retired_at: Set(key.retired_at.map(millis)),
        delete_at: Set(key.delete_at.map(millis)),
    };
    signing_keys::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The active key retires; `false` if it is not the active one.
pub(super) async fn retire_key(
    tx: &Tx,
    kid: &str,
    now: DateTime<Utc>,
    delete_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::Status, Expr::value(Status::Retired.name()))
        .col_expr(signing_keys::Column::ActiveSlot, Expr::value(None::<i64>))
        .col_expr(signing_keys::Column::RetiredAt, Expr::value(now.timestamp_millis()))
        .col_expr(signing_keys::Column::DeleteAt, Expr::value(delete_at.timestamp_millis()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::ActiveSlot.eq(1))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// A standby becomes the active key; `false` if it is no standby.
pub(super) async fn promote_key(tx: &Tx, kid: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::Status, Expr::value(Status::Active.name()))
        .col_expr(signing_keys::Column::ActiveSlot, Expr::value(1_i64))
        .col_expr(signing_keys::Column::ActivatedAt, Expr::value(now.timestamp_millis()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::Status.eq(Status::Standby.name()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// A key goes, with the tokens that it signed; `false` if it is not there in that status.
pub(super) async fn remove_key(tx: &Tx, kid: &str, status: Status) -> Result<bool, StoreError> {
    let done = signing_keys::Entity::delete_many()
        .filter(signing_keys::Column::Kid.eq(kid))
        .filter(signing_keys::Column::Status.eq(status.name()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Retired keys go when the last of their tokens has expired.
pub(super) async fn remove_gone(tx: &Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let done = signing_keys::Entity::delete_many()
        .filter(signing_keys::Column::Status.eq(Status::Retired.name()))
        .filter(signing_keys::Column::DeleteAt.lte(now.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// A key is encrypted anew; one that is gone meanwhile need not be.
pub(super) async fn reencrypt_key(tx: &Tx, kid: &str, sealed: &[u8]) -> Result<(), StoreError> {
    signing_keys::Entity::update_many()
        .col_expr(signing_keys::Column::SealedPrivateKey, Expr::value(sealed.to_vec()))
        .filter(signing_keys::Column::Kid.eq(kid))
        .exec(tx)
        .await?;
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

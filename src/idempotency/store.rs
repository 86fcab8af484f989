//! Queries on the table of idempotency keys. Every query filters by owner, except the deletion of expired
//! keys.

use ::entity::idempotency_keys::{ActiveModel, Column, Entity, Model};
use ::entity::trip_counters;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict, Query, SimpleExpr, Value};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter,
    QuerySelect, UpdateMany,
};
use uuid::Uuid;

use super::{CLAIM_TIMEOUT, Claim, RESPONSE_RETENTION, Reference, Saved, SavedResponse, StoredKey, Times};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// The status of every saved response.
const CREATED: i64 = 201;

impl From<Model> for StoredKey {
    fn from(row: Model) -> Self {
        let saved = row.status.map(|_| match row.reference {
            Some(reference) => Saved::Reference(Reference(reference)),
            None => Saved::Response(SavedResponse {
                location: row.location,
                etag: row.etag,
                body: row.body.unwrap_or_default(),
            }),
        });
        Self {
            digest: row.request_digest,
            holder: row.holder,
            claimed_at: from_millis(row.claimed_at),
            expires_at: from_millis(row.expires_at),
            saved,
        }
    }
}

/// Claims a key. Fails with [`StoreError::UniqueViolation`] if the key exists.
pub(super) async fn claim(
    tx: &Tx,
    owner: Uuid,
    claim: &Claim,
    digest: &[u8; 32],
    at: Times,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        owner_id: Set(owner),
        key_digest: Set(claim.key.to_vec()),
        request_digest: Set(digest.to_vec()),
        holder: Set(claim.holder),
        claimed_at: Set(at.shared.timestamp_millis()),
        expires_at: Set((at.trusted + RESPONSE_RETENTION).timestamp_millis()),
        status: Set(None),
        location: Set(None),
        etag: Set(None),
        body: Set(None),
        reference: Set(None),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Counts a key that the owner claims on this day. Returns the number of keys that the owner has claimed on
/// this day.
pub(super) async fn count_key(tx: &Tx, owner: Uuid, day: i64) -> Result<i64, StoreError> {
    use trip_counters::{Column, Entity};
    let is_same_day = Expr::col((Entity, Column::KeysDay)).eq(day);
    let incremented = Expr::col((Entity, Column::KeysClaimed)).add(1_i64);
    let keys: SimpleExpr = Expr::case(is_same_day, incremented).finally(1_i64).into();
    // MySQL assigns the columns in this order. `keys_claimed` must come first, because it reads the old value
    // of `keys_day`.
    let conflict = OnConflict::column(Column::OwnerId)
        .value(Column::KeysClaimed, keys)
        .value(Column::KeysDay, day)
        .to_owned();
    let upsert = Query::insert()
        .into_table(Entity)
        .columns([Column::OwnerId, Column::Value, Column::KeysClaimed, Column::KeysDay])
        .values_panic([owner.into(), 0_i64.into(), 1_i64.into(), day.into()])
        .on_conflict(conflict)
        .take();
    tx.execute(&upsert).await?;
    let query = Entity::find().select_only().column(Column::KeysClaimed).filter(Column::OwnerId.eq(owner));
    Ok(query.into_tuple().one(tx).await?.unwrap_or(0))
}

pub(super) async fn find(tx: &Tx, owner: Uuid, key: &[u8; 32]) -> Result<Option<StoredKey>, StoreError> {
    Ok(Entity::find_by_id((owner, key.to_vec())).one(tx).await?.map(StoredKey::from))
}

/// Takes over a key that has expired or that the holder `former` has abandoned. Returns `false` if the state
/// of the key has changed.
pub(super) async fn take_over(
    tx: &Tx,
    owner: Uuid,
    claim: &Claim,
    former: Uuid,
    digest: &[u8; 32],
    at: Times,
) -> Result<bool, StoreError> {
    let [oldest, newest] =
        [at.shared - CLAIM_TIMEOUT, at.shared + CLAIM_TIMEOUT].map(|time| time.timestamp_millis());
    let is_outdated = Column::ClaimedAt.lte(oldest).or(Column::ClaimedAt.gte(newest));
    let abandoned = Column::Status.is_null().and(is_outdated);
    let free = Condition::any().add(abandoned).add(Column::ExpiresAt.lte(at.trusted.timestamp_millis()));
    let done = update_key(owner, claim.key, former)
        .col_expr(Column::Holder, Expr::value(claim.holder))
        .col_expr(Column::RequestDigest, Expr::value(digest.to_vec()))
        .col_expr(Column::ClaimedAt, Expr::value(at.shared.timestamp_millis()))
        .col_expr(Column::ExpiresAt, Expr::value((at.trusted + RESPONSE_RETENTION).timestamp_millis()))
        .col_expr(Column::Status, Expr::value(Value::BigInt(None)))
        .col_expr(Column::Location, Expr::value(Value::String(None)))
        .col_expr(Column::Etag, Expr::value(Value::String(None)))
        .col_expr(Column::Body, Expr::value(Value::Bytes(None)))
        .col_expr(Column::Reference, Expr::value(Value::String(None)))
        .filter(free)
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Saves the result if the claim is still valid. Returns whether the claim is valid.
pub(super) async fn save_reference(
    tx: &Tx,
    owner: Uuid,
    claim: &Claim,
    Reference(reference): &Reference,
) -> Result<bool, StoreError> {
    let done = update_key(owner, claim.key, claim.holder)
        .col_expr(Column::Status, Expr::value(CREATED))
        .col_expr(Column::Body, Expr::value(Vec::<u8>::new()))
        .col_expr(Column::Reference, Expr::value(reference.as_str()))
        .filter(Column::Status.is_null())
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn release(tx: &Tx, owner: Uuid, claim: &Claim) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::OwnerId.eq(owner))
        .filter(Column::KeyDigest.eq(claim.key.to_vec()))
        .filter(Column::Holder.eq(claim.holder))
        .filter(Column::Status.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

fn update_key(owner: Uuid, key: [u8; 32], holder: Uuid) -> UpdateMany<Entity> {
    Entity::update_many()
        .filter(Column::OwnerId.eq(owner))
        .filter(Column::KeyDigest.eq(key.to_vec()))
        .filter(Column::Holder.eq(holder))
}

/// Deletes at most `limit` expired keys. Returns the number of deleted keys.
pub(super) async fn sweep(tx: &Tx, now: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let expired = Column::ExpiresAt.lte(now.timestamp_millis());
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::KeyDigest);
    let keys: Vec<(Uuid, Vec<u8>)> = query.filter(expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let mut selected = Condition::any();
    for (owner, key) in keys {
        selected = selected.add(Column::OwnerId.eq(owner).and(Column::KeyDigest.eq(key)));
    }
    Ok(Entity::delete_many().filter(selected).filter(expired).exec(tx).await?.rows_affected)
}

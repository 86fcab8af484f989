//! The table of applied operations. Every query names the owner.

use ::entity::sync_operations::{ActiveModel, Column, Entity};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::db::{StoreError, Tx, pad_to_power_of_two, power_of_two_chunks};

/// Returns the stored rows of these operations: the id, the digest, and whether it was applied after `since`.
pub(super) async fn applied(
    tx: &Tx,
    owner: Uuid,
    ops: &[Uuid],
    since: DateTime<Utc>,
) -> Result<Vec<(Uuid, Vec<u8>, bool)>, StoreError> {
    let query = Entity::find().select_only().columns([Column::OpId, Column::Digest, Column::AppliedAt]);
    let query = query.filter(Column::OwnerId.eq(owner)).filter(Column::OpId.is_in(pad_to_power_of_two(ops)));
    let rows: Vec<(Uuid, Vec<u8>, i64)> = query.into_tuple().all(tx).await?;
    let since = since.timestamp_millis();
    Ok(rows.into_iter().map(|(op, digest, at)| (op, digest, at > since)).collect())
}

/// Deletes the rows of these operations that were applied at `before` or earlier. The condition on the time
/// keeps a row that another transaction has written since, after it deleted the expired one itself.
pub(super) async fn delete_expired(
    tx: &Tx,
    owner: Uuid,
    ops: &[Uuid],
    before: DateTime<Utc>,
) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::OwnerId.eq(owner))
        .filter(Column::OpId.is_in(pad_to_power_of_two(ops)))
        .filter(Column::AppliedAt.lte(before.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Inserts the rows of applied operations.
///
/// # Errors
///
/// [`StoreError::UniqueViolation`] if another transaction has applied one of them since they were read.
pub(super) async fn insert(
    tx: &Tx,
    owner: Uuid,
    ops: &[(Uuid, [u8; 32])],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for chunk in power_of_two_chunks(ops) {
        let rows = chunk.iter().map(|(op, digest)| ActiveModel {
            owner_id: Set(owner),
            op_id: Set(*op),
            digest: Set(digest.to_vec()),
            applied_at: Set(now.timestamp_millis()),
        });
        Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Deletes up to `limit` rows of operations that were applied at `before` or earlier; returns how many.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let is_expired = Column::AppliedAt.lte(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::OpId);
    let keys: Vec<(Uuid, Uuid)> = query.filter(is_expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let mut is_selected = Condition::any();
    for (owner, op) in keys {
        is_selected = is_selected.add(Column::OwnerId.eq(owner).and(Column::OpId.eq(op)));
    }
    Ok(Entity::delete_many().filter(is_selected).filter(is_expired).exec(tx).await?.rows_affected)
}

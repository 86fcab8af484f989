//! The table of applied operations. Every query names the owner.

use ::entity::sync_operations::{ActiveModel, Column, Entity};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use crate::db::{StoreError, Tx, pad_to_power_of_two, power_of_two_chunks};

/// Those of these operations that were applied, with their digests, and whether that was since.
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

/// Forgets those of these operations that were applied before: somebody else may have done so, and have applied
/// another under the same id since.
pub(super) async fn forget(
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

/// [`StoreError::UniqueViolation`] if somebody else applied one of them meanwhile.
pub(super) async fn remember(
    tx: &Tx,
    owner: Uuid,
    ops: &[(Uuid, [u8; 32])],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for some in power_of_two_chunks(ops) {
        let rows = some.iter().map(|(op, digest)| ActiveModel {
            owner_id: Set(owner),
            op_id: Set(*op),
            digest: Set(digest.to_vec()),
            applied_at: Set(now.timestamp_millis()),
        });
        Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Deletes some of those that were applied before; how many.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let old = Column::AppliedAt.lte(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::OpId);
    let keys: Vec<(Uuid, Uuid)> = query.filter(old.clone()).limit(limit).into_tuple().all(tx).await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let mut these = Condition::any();
    for (owner, op) in keys {
        these = these.add(Column::OwnerId.eq(owner).and(Column::OpId.eq(op)));
    }
    Ok(Entity::delete_many().filter(these).filter(old).exec(tx).await?.rows_affected)
}

//! Queries on the table of applied operations, and on the number of applied operations, which is stored in
//! the row of the owner's change counter. Every query filters by owner, except the search for expired rows.

use std::collections::BTreeMap;

use ::entity::sync_operations::{ActiveModel, Column, Entity};
use ::entity::trip_counters;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use crate::db::{StoreError, Tx, pad_to_power_of_two, power_of_two_chunks};

/// Returns the stored rows of these operations: the id, the digest, and whether the operation was applied
/// after `since`.
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

/// Deletes the rows of these operations that were applied at `before` or earlier. If another transaction has
/// replaced an expired row in the meantime, the condition on the time keeps the new row. Returns the number
/// of deleted rows.
pub(super) async fn delete_expired(
    tx: &Tx,
    owner: Uuid,
    ops: &[Uuid],
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let deleted = Entity::delete_many()
        .filter(Column::OwnerId.eq(owner))
        .filter(Column::OpId.is_in(pad_to_power_of_two(ops)))
        .filter(Column::AppliedAt.lte(before.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(deleted.rows_affected)
}

/// Returns the number of the owner's stored operations.
pub(super) async fn remembered(tx: &Tx, owner: Uuid) -> Result<i64, StoreError> {
    let query = trip_counters::Entity::find().select_only().column(trip_counters::Column::SyncOperations);
    let query = query.filter(trip_counters::Column::OwnerId.eq(owner));
    Ok(query.into_tuple().one(tx).await?.unwrap_or(0))
}

/// Adds `change` to the number of the owner's stored operations.
///
/// # Errors
///
/// [`StoreError::ForeignKeyViolation`] if the owner does not exist.
pub(super) async fn add_remembered(tx: &Tx, owner: Uuid, change: i64) -> Result<(), StoreError> {
    use trip_counters::{Column, Entity};
    let sum = Expr::col((Entity, Column::SyncOperations)).add(change);
    let upsert = Query::insert()
        .into_table(Entity)
        .columns([Column::OwnerId, Column::Value, Column::SyncOperations])
        .values_panic([owner.into(), 0_i64.into(), change.into()])
        .on_conflict(OnConflict::column(Column::OwnerId).value(Column::SyncOperations, sum).to_owned())
        .take();
    tx.execute(&upsert).await?;
    Ok(())
}

/// Inserts the rows of applied operations.
///
/// # Errors
///
/// [`StoreError::UniqueViolation`] if another transaction has applied one of the operations since this
/// transaction read the rows.
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

/// Deletes up to `limit` rows of operations that were applied at `before` or earlier. Returns the number of
/// deleted rows.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let is_expired = Column::AppliedAt.lte(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::OpId);
    let keys: Vec<(Uuid, Uuid)> = query.filter(is_expired).limit(limit).into_tuple().all(tx).await?;
    let mut by_owner: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (owner, op) in keys {
        by_owner.entry(owner).or_default().push(op);
    }
    if by_owner.is_empty() {
        return Ok(0);
    }
    // Lock the counters first, as every writer of operations does, so that deadlocks are impossible.
    let owners = trip_counters::Column::OwnerId.is_in(by_owner.keys().copied());
    let counters = trip_counters::Entity::find().select_only().column(trip_counters::Column::OwnerId);
    let counters = counters.filter(owners).order_by_asc(trip_counters::Column::OwnerId).lock_exclusive();
    let _locked: Vec<Uuid> = counters.into_tuple().all(tx).await?;
    let mut total = 0;
    for (owner, ops) in by_owner {
        let deleted = delete_expired(tx, owner, &ops, before).await?;
        add_remembered(tx, owner, -i64::try_from(deleted).unwrap_or(i64::MAX)).await?;
        total += deleted;
    }
    Ok(total)
}

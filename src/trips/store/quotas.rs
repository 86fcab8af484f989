//! The queries on the usage and the tombstones of an owner, and the conditions of the quotas.

use ::entity::{trip_counters, trip_tombstones};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use crate::db::{StoreError, Tx};
use crate::trips::{Quotas, Usage};

/// Deletes the owner's oldest tombstones if there are more than `max`, and stores the change number of the
/// newest deleted tombstone.
pub(in crate::trips) async fn trim_tombstones(tx: &Tx, owner: Uuid, max: i64) -> Result<(), StoreError> {
    use trip_counters::{Column, Entity};
    let query = Entity::find().select_only().column(Column::Tombstones).filter(Column::OwnerId.eq(owner));
    let count: Option<i64> = query.into_tuple().one(tx).await?;
    let Some(last_excess) = count.and_then(|count| u64::try_from(count - max - 1).ok()) else {
        return Ok(());
    };
    let oldest = trip_tombstones::Entity::find()
        .select_only()
        .column(trip_tombstones::Column::ChangeSeq)
        .filter(trip_tombstones::Column::OwnerId.eq(owner))
        .order_by_asc(trip_tombstones::Column::ChangeSeq)
        .offset(last_excess)
        .limit(1);
    let Some(until) = oldest.into_tuple::<i64>().one(tx).await? else { return Ok(()) };
    let deleted = trip_tombstones::Entity::delete_many()
        .filter(trip_tombstones::Column::OwnerId.eq(owner))
        .filter(trip_tombstones::Column::ChangeSeq.lte(until))
        .exec(tx)
        .await?;
    let deleted = i64::try_from(deleted.rows_affected).unwrap_or(i64::MAX);
    Entity::update_many()
        .col_expr(Column::Tombstones, Expr::col(Column::Tombstones).sub(deleted))
        .col_expr(Column::TombstonesUntil, Expr::value(until))
        .filter(Column::OwnerId.eq(owner))
        .exec(tx)
        .await?;
    Ok(())
}

/// Returns the owner's usage. If `lock` is true, locks the row until the transaction ends.
pub(in crate::trips) async fn usage(tx: &Tx, owner: Uuid, lock: bool) -> Result<Usage, StoreError> {
    use trip_counters::{Column, Entity};
    let query = Entity::find().select_only().columns([Column::Trips, Column::TripBytes]);
    let query = query.filter(Column::OwnerId.eq(owner));
    let query = if lock { query.lock_exclusive() } else { query };
    let row: Option<(i64, i64)> = query.into_tuple().one(tx).await?;
    Ok(row.map(|(trips, trip_bytes)| Usage { trips, trip_bytes }).unwrap_or_default())
}

/// The quotas that a write must observe; `None` for a quota whose usage the write does not increase.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::trips) struct Limits {
    trips: Option<i64>,
    trip_bytes: Option<i64>,
}

impl Limits {
    /// Returns the quotas that a transaction must observe if it changes the owner's usage by `change`: only the
    /// quotas whose usage increases.
    pub(in crate::trips) fn new(quotas: Quotas, change: Usage) -> Self {
        Self {
            trips: (change.trips > 0).then_some(quotas.trips),
            trip_bytes: (change.trip_bytes > 0).then_some(quotas.trip_bytes),
        }
    }

    /// Returns the condition on the owner's counter.
    pub(super) fn condition(self) -> Condition {
        let at_most =
            |column, max: Option<i64>| max.map(|max| Expr::col((trip_counters::Entity, column)).lte(max));
        Condition::all()
            .add_option(at_most(trip_counters::Column::Trips, self.trips))
            .add_option(at_most(trip_counters::Column::TripBytes, self.trip_bytes))
    }
}

/// Returns the condition that the owner is within the limits. An earlier statement of the same transaction
/// has incremented the counter.
pub(super) fn within(owner: Uuid, limits: Limits) -> Condition {
    let condition = limits.condition();
    if condition.is_empty() {
        return condition;
    }
    let counter = Query::select()
        .expr(Expr::value(1))
        .from(trip_counters::Entity)
        .and_where(trip_counters::Column::OwnerId.eq(owner))
        .cond_where(condition)
        .take();
    Condition::all().add(Expr::exists(counter))
}

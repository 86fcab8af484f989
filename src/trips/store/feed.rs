//! The queries of the change feed.

use std::collections::BTreeMap;

use ::entity::{feed_epoch, trip_counters, trip_tombstones, trips};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};
use uuid::Uuid;

use super::{COLUMNS, counter_column, select, trip};
use crate::db::{StoreError, Tx};
use crate::trips::Change;

/// The column index of the change number, after the columns of the trip.
const SEQ: usize = COLUMNS.len();

/// Returns the feed epoch of the database, the owner's change counter, and the number of the last change
/// whose tombstone was deleted because the owner had too many tombstones. The last two numbers are 0 before
/// the first change.
pub(in crate::trips) async fn feed_state(tx: &Tx, owner: Uuid) -> Result<(i64, i64, i64), StoreError> {
    let column = |column| Expr::SubQuery(None, Box::new(counter_column(owner, column).into()));
    let counter = column(trip_counters::Column::Value);
    let trimmed = column(trip_counters::Column::TombstonesUntil);
    let query = Query::select()
        .column(feed_epoch::Column::Epoch)
        .expr_as(counter, Alias::new("counter"))
        .expr_as(trimmed, Alias::new("trimmed"))
        .from(feed_epoch::Entity)
        .take();
    let row = tx
        .query_one(&query)
        .await?
        .ok_or_else(|| DbErr::Custom("the table feed_epoch is empty".to_owned()))?;
    let number = |index| row.try_get_by_index::<Option<i64>>(index).map(Option::unwrap_or_default);
    Ok((row.try_get_by_index(0)?, number(1)?, number(2)?))
}

/// Returns up to `limit` trips whose change number is greater than `after` and at most `until`.
pub(in crate::trips) async fn changed(
    tx: &Tx,
    owner: Uuid,
    after: i64,
    until: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let query = select(owner)
        .column(trips::Column::ChangeSeq)
        .filter(trips::Column::ChangeSeq.gt(after))
        .filter(trips::Column::ChangeSeq.lte(until))
        .order_by_asc(trips::Column::ChangeSeq)
        .limit(limit as u64);
    let mut changes = Vec::new();
    for row in tx.query_rows(query.build(tx.get_database_backend())).await?.iter() {
        let (trip, seq) = (trip(row)?, row.get(SEQ)?);
        changes.push(Change { seq, id: trip.id, version: trip.version, trip: Some(trip) });
    }
    Ok(changes)
}

/// Returns up to `limit` deletions whose change number is greater than `after` and at most `until`.
pub(in crate::trips) async fn deleted(
    tx: &Tx,
    owner: Uuid,
    after: i64,
    until: i64,
    limit: usize,
) -> Result<Vec<Change>, StoreError> {
    let rows = trip_tombstones::Entity::find()
        .filter(trip_tombstones::Column::OwnerId.eq(owner))
        .filter(trip_tombstones::Column::ChangeSeq.gt(after))
        .filter(trip_tombstones::Column::ChangeSeq.lte(until))
        .order_by_asc(trip_tombstones::Column::ChangeSeq)
        .limit(limit as u64)
        .all(tx)
        .await?;
    let change = |row: trip_tombstones::Model| Change {
        seq: row.change_seq,
        id: row.trip_id,
        version: row.version,
        trip: None,
    };
    Ok(rows.into_iter().map(change).collect())
}

/// Deletes up to `limit` tombstones that are older than `before`. Returns the number of deleted tombstones.
pub(in crate::trips) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    use trip_tombstones::{Column, Entity};
    let is_expired = Column::DeletedAt.lt(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::TripId);
    let keys: Vec<(Uuid, Uuid)> = query.filter(is_expired.clone()).limit(limit).into_tuple().all(tx).await?;
    let mut by_owner: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (owner, trip) in keys {
        by_owner.entry(owner).or_default().push(trip);
    }
    let mut total = 0;
    for (owner, trips) in by_owner {
        // Lock the counter before the tombstones, as every writer of tombstones does, so that deadlocks are
        // impossible.
        super::usage(tx, owner, true).await?;
        let deleted = Entity::delete_many()
            .filter(Column::OwnerId.eq(owner))
            .filter(Column::TripId.is_in(trips))
            .filter(is_expired.clone())
            .exec(tx)
            .await?
            .rows_affected;
        let count = Expr::col(trip_counters::Column::Tombstones);
        trip_counters::Entity::update_many()
            .col_expr(trip_counters::Column::Tombstones, count.sub(i64::try_from(deleted).unwrap_or(0)))
            .filter(trip_counters::Column::OwnerId.eq(owner))
            .exec(tx)
            .await?;
        total += deleted;
    }
    Ok(total)
}

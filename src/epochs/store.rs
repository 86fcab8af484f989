//! Queries on the feed epoch, and the changes to all trips and sessions when a new epoch begins.

use ::entity::{feed_epoch, sessions, trip_counters, trip_tombstones, trips, users};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter};

use super::{DatabaseState, NewEpoch};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// The id of the only row.
const ROW: i64 = 1;

impl From<feed_epoch::Model> for DatabaseState {
    fn from(row: feed_epoch::Model) -> Self {
        Self {
            database: row.database_id,
            epoch: row.epoch,
            version_floor: row.version_floor,
            generation: row.generation,
            began_at: from_millis(row.began_at),
        }
    }
}

pub(super) async fn find(tx: &Tx) -> Result<Option<DatabaseState>, StoreError> {
    Ok(feed_epoch::Entity::find_by_id(ROW).one(tx).await?.map(DatabaseState::from))
}

/// Inserts the row.
///
/// # Errors
///
/// [`StoreError::UniqueViolation`] if the row exists.
pub(super) async fn insert(tx: &Tx, state: &DatabaseState) -> Result<(), StoreError> {
    let row = feed_epoch::ActiveModel {
        id: Set(ROW),
        database_id: Set(state.database),
        epoch: Set(state.epoch),
        version_floor: Set(state.version_floor),
        generation: Set(state.generation),
        began_at: Set(state.began_at.timestamp_millis()),
    };
    feed_epoch::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Increments the generation by 1.
pub(super) async fn advance(tx: &Tx) -> Result<(), StoreError> {
    use feed_epoch::{Column, Entity};
    let raised = Expr::col(Column::Generation).add(1);
    let done = Entity::update_many()
        .col_expr(Column::Generation, raised)
        .filter(Column::Id.eq(ROW))
        .exec(tx)
        .await?;
    require_row(done.rows_affected)
}

/// Replaces the epoch, and increases the version floor and the generation.
pub(super) async fn replace_epoch(tx: &Tx, new: &NewEpoch) -> Result<(), StoreError> {
    use feed_epoch::{Column, Entity};
    let generation = Expr::col(Column::Generation);
    let above = Expr::value(new.above_generation);
    let highest = Expr::case(generation.clone().gt(new.above_generation), generation).finally(above);
    let done = Entity::update_many()
        .col_expr(Column::Epoch, Expr::value(new.epoch))
        .col_expr(Column::VersionFloor, Expr::col(Column::VersionFloor).add(new.step))
        .col_expr(Column::Generation, Expr::expr(highest).add(new.step))
        .col_expr(Column::BeganAt, Expr::value(new.now.timestamp_millis()))
        .filter(Column::Id.eq(ROW))
        .exec(tx)
        .await?;
    require_row(done.rows_affected)
}

fn require_row(rows: u64) -> Result<(), StoreError> {
    if rows == 1 { Ok(()) } else { Err(DbErr::Custom("the table feed_epoch is empty".to_owned()).into()) }
}

/// Increases the versions of all trips and tombstones. Returns the number of trips.
pub(super) async fn raise_versions(tx: &Tx, step: i64) -> Result<u64, StoreError> {
    let trips = trips::Entity::update_many()
        .col_expr(trips::Column::Version, Expr::col(trips::Column::Version).add(step))
        .exec(tx)
        .await?;
    trip_tombstones::Entity::update_many()
        .col_expr(trip_tombstones::Column::Version, Expr::col(trip_tombstones::Column::Version).add(step))
        .exec(tx)
        .await?;
    Ok(trips.rows_affected)
}

/// Increases the change counters of all users, so that the entity tags of their lists change. Also inserts a
/// counter for each user without a counter, because the user's first changes were possibly lost in the
/// restore.
pub(super) async fn raise_counters(tx: &Tx, step: i64) -> Result<(), StoreError> {
    use trip_counters::{Column, Entity};
    let counter = Query::select()
        .expr(Expr::value(1))
        .from(Entity)
        .and_where(Expr::col((Entity, Column::OwnerId)).equals((users::Entity, users::Column::Id)))
        .take();
    let users = Query::select()
        .column((users::Entity, users::Column::Id))
        .expr(Expr::value(0_i64))
        .from(users::Entity)
        .and_where(Expr::exists(counter).not())
        .take();
    let mut missing = Query::insert();
    let missing = missing.into_table(Entity).columns([Column::OwnerId, Column::Value]);
    let missing = missing.select_from(users).map_err(|error| DbErr::Custom(error.to_string()))?;
    match tx.execute(missing).await.map_err(StoreError::from) {
        // After the statement began, another transaction created the first trip of a user, and therefore also
        // the user's counter.
        Err(StoreError::UniqueViolation(_)) => return Err(StoreError::conflict()),
        inserted => {
            inserted?;
        }
    }
    Entity::update_many().col_expr(Column::Value, Expr::col(Column::Value).add(step)).exec(tx).await?;
    Ok(())
}

/// Ends all sessions. Returns the number of sessions that were ended.
pub(super) async fn end_sessions(tx: &Tx, now: DateTime<Utc>) -> Result<u64, StoreError> {
    use sessions::{Column, Entity};
    let now = now.timestamp_millis();
    let done = Entity::update_many()
        .col_expr(Column::EndedAt, Expr::value(now))
        .col_expr(Column::IdleExpiresAt, Expr::value(now))
        .filter(Column::EndedAt.is_null())
        .filter(Column::IdleExpiresAt.gt(now))
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

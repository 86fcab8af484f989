//! Queries on the table of servers. The queries take no owner, because no row belongs to a user.

use ::entity::replicas::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::Replica;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

impl From<Model> for Replica {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            version: row.version,
            host: row.host,
            address: row.address,
            secret: row.secret_fingerprint,
            public_url: row.public_url,
            schema: row.schema_step,
            clock_offset: TimeDelta::milliseconds(row.clock_offset),
            started_at: from_millis(row.started_at),
            seen_at: from_millis(row.seen_at),
        }
    }
}

pub(super) async fn insert(tx: &Tx, server: &Replica) -> Result<(), StoreError> {
    let server = server.clone();
    let row = ActiveModel {
        id: Set(server.id),
        version: Set(server.version),
        host: Set(server.host),
        address: Set(server.address),
        secret_fingerprint: Set(server.secret),
        public_url: Set(server.public_url),
        schema_step: Set(server.schema),
        clock_offset: Set(server.clock_offset.num_milliseconds()),
        started_at: Set(server.started_at.timestamp_millis()),
        seen_at: Set(server.seen_at.timestamp_millis()),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Updates the values that change while a server runs. Returns whether the row exists.
pub(super) async fn renew(tx: &Tx, server: &Replica) -> Result<bool, StoreError> {
    let done = Entity::update_many()
        .col_expr(Column::SeenAt, Expr::value(server.seen_at.timestamp_millis()))
        .col_expr(Column::ClockOffset, Expr::value(server.clock_offset.num_milliseconds()))
        .filter(Column::Id.eq(server.id))
        .exec(tx)
        .await?;
    Ok(done.rows_affected > 0)
}

pub(super) async fn list(tx: &Tx) -> Result<Vec<Replica>, StoreError> {
    Ok(Entity::find().all(tx).await?.into_iter().map(Replica::from).collect())
}

pub(super) async fn delete(tx: &Tx, id: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Deletes the rows that were renewed before the first time or after the second time.
pub(super) async fn sweep(tx: &Tx, (first, last): (DateTime<Utc>, DateTime<Utc>)) -> Result<(), StoreError> {
    let is_old = Condition::any()
        .add(Column::SeenAt.lt(first.timestamp_millis()))
        .add(Column::SeenAt.gt(last.timestamp_millis()));
    Entity::delete_many().filter(is_old).exec(tx).await?;
    Ok(())
}

pub(super) async fn clear(tx: &Tx) -> Result<(), StoreError> {
    Entity::delete_many().exec(tx).await?;
    Ok(())
}

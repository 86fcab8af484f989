//! Queries on the table of administrative commands. The queries take no owner, because no row belongs to a
//! user.

use ::entity::operator_actions::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Action;
use crate::clock::{first_id_at, from_millis};
use crate::db::{StoreError, Tx};

impl From<Model> for Action {
    fn from(row: Model) -> Self {
        let Model { id, created_at, operator, command, subject } = row;
        Self { id, at: from_millis(created_at), operator, command, subject }
    }
}

pub(super) async fn insert(tx: &Tx, action: &Action) -> Result<(), StoreError> {
    let Action { id, at, operator, command, subject } = action.clone();
    let row = ActiveModel {
        id: Set(id),
        created_at: Set(at.timestamp_millis()),
        operator: Set(operator),
        command: Set(command),
        subject: Set(subject),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

pub(super) async fn list(tx: &Tx, limit: u64) -> Result<Vec<Action>, StoreError> {
    let rows = Entity::find().order_by_desc(Column::Id).limit(limit).all(tx).await?;
    Ok(rows.into_iter().map(Action::from).collect())
}

/// Deletes up to `limit` records that were created before the given time. Returns their number.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    // The id begins with the time of creation, so a range of the primary key selects the old rows.
    let first = first_id_at(before);
    let query = Entity::find().select_only().column(Column::Id).filter(Column::Id.lt(first)).limit(limit);
    let ids: Vec<Uuid> = query.into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?.rows_affected)
}

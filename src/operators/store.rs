//! Queries on the table of administrative commands. They belong to the server, not to a user.

use ::entity::operator_actions::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Action;
use crate::clock::from_millis;
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

/// Deletes the records from before a time.
pub(super) async fn delete_before(tx: &Tx, before: DateTime<Utc>) -> Result<(), StoreError> {
    // The id begins with the time, and the table is ordered by it.
    let millis = u64::try_from(before.timestamp_millis()).unwrap_or_default();
    let first = Uuid::from_u128(u128::from(millis) << 80);
    Entity::delete_many().filter(Column::Id.lt(first)).exec(tx).await?;
    Ok(())
}

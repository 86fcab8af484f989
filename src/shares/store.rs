//! The table of links. Every query names the owner, or a token that was checked.

use ::entity::trip_shares::{ActiveModel, Column, Entity};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::token::ShareToken;
use crate::db::{StoreError, Tx};

pub(super) async fn find(tx: &Tx, owner: Uuid, trip: Uuid) -> Result<Option<Uuid>, StoreError> {
    Ok(Entity::find_by_id((owner, trip)).one(tx).await?.map(|row| row.id))
}

/// [`StoreError::UniqueViolation`] if there is one; [`StoreError::ForeignKeyViolation`] if there is no such trip.
pub(super) async fn insert(
    tx: &Tx,
    owner: Uuid,
    trip: Uuid,
    share: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        owner_id: Set(owner),
        trip_id: Set(trip),
        id: Set(share),
        created_at: Set(now.timestamp_millis()),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Whether there was one.
pub(super) async fn delete(tx: &Tx, owner: Uuid, trip: Uuid) -> Result<bool, StoreError> {
    Ok(Entity::delete_by_id((owner, trip)).exec(tx).await?.rows_affected == 1)
}

/// The owner and the trip.
pub(super) async fn of_token(tx: &Tx, shown: &ShareToken) -> Result<Option<(Uuid, Uuid)>, StoreError> {
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::TripId);
    Ok(query.filter(Column::Id.eq(shown.share)).into_tuple().one(tx).await?)
}

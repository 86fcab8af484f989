//! Queries on the table of share links. Every query filters by the owner or by a verified token.

use ::entity::trip_shares::{ActiveModel, Column, Entity};
use ::entity::users;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::token::ShareToken;
use crate::db::{StoreError, Tx};

/// Returns the id of the link to a trip.
pub(super) async fn find(tx: &Tx, owner: Uuid, trip: Uuid) -> Result<Option<Uuid>, StoreError> {
    Ok(Entity::find_by_id((owner, trip)).one(tx).await?.map(|row| row.id))
}

/// Inserts a link.
///
/// # Errors
///
/// [`StoreError::UniqueViolation`] if the trip has a link; [`StoreError::ForeignKeyViolation`] if the trip
/// does not exist.
pub(super) async fn insert(
    tx: &Tx,
    owner: Uuid,
    trip: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        owner_id: Set(owner),
        trip_id: Set(trip),
        id: Set(id),
        created_at: Set(now.timestamp_millis()),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Deletes the link to a trip. Returns whether there was a link.
pub(super) async fn delete(tx: &Tx, owner: Uuid, trip: Uuid) -> Result<bool, StoreError> {
    Ok(Entity::delete_by_id((owner, trip)).exec(tx).await?.rows_affected == 1)
}

/// Returns the owner and the trip of a link, unless an operator has disabled the owner's account.
pub(super) async fn find_by_token(tx: &Tx, token: &ShareToken) -> Result<Option<(Uuid, Uuid)>, StoreError> {
    let query = Entity::find().select_only().column(Column::OwnerId).column(Column::TripId);
    let owner = Query::select()
        .column(users::Column::Id)
        .from(users::Entity)
        .and_where(Expr::col((users::Entity, users::Column::Id)).equals((Entity, Column::OwnerId)))
        .and_where(Expr::col((users::Entity, users::Column::DisabledAt)).is_null())
        .take();
    let found = query.filter(Column::Id.eq(token.id)).filter(Expr::exists(owner));
    Ok(found.into_tuple().one(tx).await?)
}

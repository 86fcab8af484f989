//! Queries on the table of invites, which belong to the server and not to a user.

use ::entity::invites::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::{Invite, InviteCode};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

impl From<Model> for Invite {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            uses: u32::try_from(row.uses).unwrap_or(u32::MAX),
            used: u32::try_from(row.used).unwrap_or(u32::MAX),
            created_at: from_millis(row.created_at),
            expires_at: row.expires_at.map(from_millis),
        }
    }
}

pub(super) async fn insert(tx: &Tx, invite: &Invite, code: &InviteCode) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: Set(invite.id),
        code_digest: Set(code.digest().to_vec()),
        uses: Set(invite.uses.into()),
        used: Set(invite.used.into()),
        created_at: Set(invite.created_at.timestamp_millis()),
        expires_at: Set(invite.expires_at.map(|at| at.timestamp_millis())),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns all invites, the oldest first.
pub(super) async fn all(tx: &Tx) -> Result<Vec<Invite>, StoreError> {
    // The ids are UUIDv7, which begin with the time of their creation.
    let rows = Entity::find().order_by_asc(Column::Id).all(tx).await?;
    Ok(rows.into_iter().map(Invite::from).collect())
}

/// Deletes an invite. Returns `false` if no invite has this id.
pub(super) async fn remove(tx: &Tx, id: Uuid) -> Result<bool, StoreError> {
    Ok(Entity::delete_by_id(id).exec(tx).await?.rows_affected == 1)
}

/// Returns a condition that selects the row of the code if the code can be used at `now`.
fn usable(code: &InviteCode, now: DateTime<Utc>) -> Condition {
    let is_valid =
        Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now.timestamp_millis()));
    Condition::all()
        .add(Column::CodeDigest.eq(code.digest().to_vec()))
        .add(Expr::col(Column::Used).lt(Expr::col(Column::Uses)))
        .add(is_valid)
}

pub(super) async fn is_usable(tx: &Tx, code: &InviteCode, now: DateTime<Utc>) -> Result<bool, StoreError> {
    Ok(Entity::find().filter(usable(code, now)).count(tx).await? == 1)
}

/// Counts a use, unless the code is unknown, used up or expired. Returns whether the use was counted.
pub(super) async fn redeem(tx: &Tx, code: &InviteCode, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = Entity::update_many()
        .col_expr(Column::Used, Expr::col(Column::Used).add(1_i64))
        .filter(usable(code, now))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Deletes up to `limit` invites that expired before a time. Returns the number of deleted invites.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let is_old = Column::ExpiresAt.lt(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::Id).filter(is_old).limit(limit);
    let ids: Vec<Uuid> = query.into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?.rows_affected)
}

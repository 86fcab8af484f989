//! Queries on the table of leases.

use ::entity::leases;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;

use super::Claim;
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

pub(super) async fn acquire(tx: &Tx, claim: &Claim) -> Result<bool, StoreError> {
    let (now, until) = (claim.now.timestamp_millis(), claim.until.timestamp_millis());
    let is_free = Condition::any()
        .add(leases::Column::Until.lt(now))
        .add(leases::Column::Until.gt(claim.latest.timestamp_millis()))
        .add(leases::Column::Holder.eq(claim.holder));
    let done = leases::Entity::update_many()
        .col_expr(leases::Column::Holder, Expr::value(claim.holder))
        .col_expr(leases::Column::Until, Expr::value(until))
        .filter(leases::Column::Name.eq(claim.name))
        .filter(is_free)
        .exec(tx)
        .await?;
    if done.rows_affected > 0 {
        return Ok(true);
    }
    // Another replica holds the lease, or the row does not exist yet.
    if leases::Entity::find_by_id(claim.name).one(tx).await?.is_some() {
        return Ok(false);
    }
    let row = leases::ActiveModel {
        name: Set(claim.name.to_owned()),
        holder: Set(claim.holder),
        until: Set(until),
    };
    leases::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(true)
}

pub(super) async fn latest_expiry(tx: &Tx) -> Result<Option<DateTime<Utc>>, StoreError> {
    let query = leases::Entity::find().order_by_desc(leases::Column::Until);
    Ok(query.one(tx).await?.map(|row| from_millis(row.until)))
}

pub(super) async fn release(tx: &Tx, name: &str, holder: Uuid) -> Result<(), StoreError> {
    leases::Entity::update_many()
        .col_expr(leases::Column::Until, Expr::value(0_i64))
        .filter(leases::Column::Name.eq(name))
        .filter(leases::Column::Holder.eq(holder))
        .exec(tx)
        .await?;
    Ok(())
}

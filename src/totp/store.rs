//! Queries on the tables of authenticator apps and recovery codes. Every query takes the owner, except
//! [`next_page`], which reads the rows of all users to encrypt them again.

use ::entity::{recovery_codes, totp_secrets};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::attempts::{DELAY_MAX_MILLIS, delays};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// The maximum number of rows that [`next_page`] returns.
const PAGE: u64 = 200;

/// The authenticator app of a user.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) user: Uuid,
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) pending: Option<Vec<u8>>,
    pub(super) pending_until: DateTime<Utc>,
    pub(super) blocked_until: DateTime<Utc>,
}

impl From<totp_secrets::Model> for App {
    fn from(row: totp_secrets::Model) -> Self {
        Self {
            user: row.user_id,
            sealed: row.sealed,
            pending: row.pending,
            pending_until: from_millis(row.pending_until),
            blocked_until: from_millis(row.blocked_until),
        }
    }
}

pub(super) async fn find(tx: &Tx, owner: Uuid) -> Result<Option<App>, StoreError> {
    Ok(totp_secrets::Entity::find_by_id(owner).one(tx).await?.map(App::from))
}

/// Stores a pending secret, which replaces an earlier pending secret.
pub(super) async fn put_pending(
    tx: &Tx,
    owner: Uuid,
    pending: &[u8],
    until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let row = totp_secrets::ActiveModel {
        user_id: Set(owner),
        sealed: Set(None),
        confirmed_at: Set(None),
        last_step: Set(0),
        pending: Set(Some(pending.to_vec())),
        pending_until: Set(until.timestamp_millis()),
        failures: Set(0),
        blocked_until: Set(0),
    };
    let replace = OnConflict::column(totp_secrets::Column::UserId)
        .update_columns([totp_secrets::Column::Pending, totp_secrets::Column::PendingUntil])
        .to_owned();
    totp_secrets::Entity::insert(row).on_conflict(replace).exec_without_returning(tx).await?;
    Ok(())
}

/// Activates the pending secret. Returns `false` if `pending` is no longer the stored pending secret.
pub(super) async fn confirm(
    tx: &Tx,
    owner: Uuid,
    pending: &[u8],
    step: i64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = totp_secrets::Entity::update_many()
        .col_expr(totp_secrets::Column::Sealed, Expr::value(pending.to_vec()))
        .col_expr(totp_secrets::Column::ConfirmedAt, Expr::value(now.timestamp_millis()))
        .col_expr(totp_secrets::Column::LastStep, Expr::value(step))
        .col_expr(totp_secrets::Column::Failures, Expr::value(0_i64))
        .col_expr(totp_secrets::Column::BlockedUntil, Expr::value(0_i64))
        .col_expr(totp_secrets::Column::Pending, Expr::value(Option::<Vec<u8>>::None))
        .filter(totp_secrets::Column::UserId.eq(owner))
        .filter(totp_secrets::Column::Pending.eq(pending.to_vec()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Records that the code of this time step was used, and resets the count of wrong codes. Returns `false` if
/// this step or a later one was used before.
pub(super) async fn use_step(tx: &Tx, owner: Uuid, step: i64) -> Result<bool, StoreError> {
    let done = totp_secrets::Entity::update_many()
        .col_expr(totp_secrets::Column::LastStep, Expr::value(step))
        .col_expr(totp_secrets::Column::Failures, Expr::value(0_i64))
        .col_expr(totp_secrets::Column::BlockedUntil, Expr::value(0_i64))
        .filter(totp_secrets::Column::UserId.eq(owner))
        .filter(totp_secrets::Column::LastStep.lt(step))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn reset_failures(tx: &Tx, owner: Uuid) -> Result<(), StoreError> {
    totp_secrets::Entity::update_many()
        .col_expr(totp_secrets::Column::Failures, Expr::value(0_i64))
        .col_expr(totp_secrets::Column::BlockedUntil, Expr::value(0_i64))
        .filter(totp_secrets::Column::UserId.eq(owner))
        .exec(tx)
        .await?;
    Ok(())
}

/// Returns the expression for the time until which the user must wait after one more wrong code.
fn next_attempt(now: DateTime<Utc>) -> SimpleExpr {
    let failures = Expr::col(totp_secrets::Column::Failures);
    let mut blocked_until: SimpleExpr = Expr::value(0_i64);
    for (earlier, delay) in delays().collect::<Vec<_>>().into_iter().rev() {
        let until = now.timestamp_millis() + delay;
        blocked_until = Expr::case(failures.clone().gte(earlier), until).finally(blocked_until).into();
    }
    blocked_until
}

/// Counts an attempt as a wrong code; a correct code resets the count later. Returns `false` if the user has
/// no authenticator app, or must wait. Ignores a wait that is longer than the maximum delay, because a wrong
/// clock has caused it.
pub(super) async fn count_attempt(tx: &Tx, owner: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let now_millis = now.timestamp_millis();
    let is_open = Condition::any()
        .add(totp_secrets::Column::BlockedUntil.lte(now_millis))
        .add(totp_secrets::Column::BlockedUntil.gt(now_millis + DELAY_MAX_MILLIS));
    let done = totp_secrets::Entity::update_many()
        // Assign `BlockedUntil` before `Failures`: `BlockedUntil` depends on the old value of `Failures`, and
        // MySQL evaluates the assignments in order.
        .col_expr(totp_secrets::Column::BlockedUntil, next_attempt(now))
        .col_expr(totp_secrets::Column::Failures, Expr::col(totp_secrets::Column::Failures).add(1))
        .filter(totp_secrets::Column::UserId.eq(owner))
        .filter(totp_secrets::Column::Sealed.is_not_null())
        .filter(is_open)
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Deletes an unused recovery code. Returns `false` if there is no code with this tag.
pub(super) async fn use_recovery_code(tx: &Tx, owner: Uuid, tag: &[u8]) -> Result<bool, StoreError> {
    let done = recovery_codes::Entity::delete_many()
        .filter(recovery_codes::Column::UserId.eq(owner))
        .filter(recovery_codes::Column::Tag.eq(tag.to_vec()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn replace_recovery_codes(
    tx: &Tx,
    owner: Uuid,
    tags: Vec<Vec<u8>>,
) -> Result<(), StoreError> {
    delete_recovery_codes(tx, owner).await?;
    let rows = tags.into_iter().map(|tag| recovery_codes::ActiveModel { user_id: Set(owner), tag: Set(tag) });
    recovery_codes::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

async fn delete_recovery_codes(tx: &Tx, owner: Uuid) -> Result<(), StoreError> {
    recovery_codes::Entity::delete_many().filter(recovery_codes::Column::UserId.eq(owner)).exec(tx).await?;
    Ok(())
}

pub(super) async fn count_recovery_codes(tx: &Tx, owner: Uuid) -> Result<u64, StoreError> {
    Ok(recovery_codes::Entity::find().filter(recovery_codes::Column::UserId.eq(owner)).count(tx).await?)
}

/// Deletes the secrets and the recovery codes. Returns `false` if no secret was active.
pub(super) async fn remove(tx: &Tx, owner: Uuid) -> Result<bool, StoreError> {
    delete_recovery_codes(tx, owner).await?;
    let in_force = totp_secrets::Entity::delete_many()
        .filter(totp_secrets::Column::UserId.eq(owner))
        .filter(totp_secrets::Column::Sealed.is_not_null())
        .exec(tx)
        .await?;
    totp_secrets::Entity::delete_by_id(owner).exec(tx).await?;
    Ok(in_force.rows_affected == 1)
}

/// Returns the next page of rows after this user, in the order of the user ids.
pub(super) async fn next_page(tx: &Tx, after: Uuid) -> Result<Vec<App>, StoreError> {
    let rows = totp_secrets::Entity::find()
        .filter(totp_secrets::Column::UserId.gt(after))
        .order_by_asc(totp_secrets::Column::UserId)
        .limit(PAGE)
        .all(tx)
        .await?;
    Ok(rows.into_iter().map(App::from).collect())
}

/// Replaces encrypted secrets. Each pair contains the old and the new value. A stored secret that differs
/// from the old value is not changed.
pub(super) async fn reseal(
    tx: &Tx,
    owner: Uuid,
    sealed: Option<&(Vec<u8>, Vec<u8>)>,
    pending: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<(), StoreError> {
    let columns = [(totp_secrets::Column::Sealed, sealed), (totp_secrets::Column::Pending, pending)];
    for (column, pair) in columns {
        let Some((old, new)) = pair else { continue };
        totp_secrets::Entity::update_many()
            .col_expr(column, Expr::value(new.clone()))
            .filter(totp_secrets::Column::UserId.eq(owner))
            .filter(column.eq(old.clone()))
            .exec(tx)
            .await?;
    }
    Ok(())
}

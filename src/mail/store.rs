//! Queries on the outbox and the budgets, which belong to the server and not to a user.

use ::entity::{mail_budgets, mail_days, outbox};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr, Value};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany,
};
use uuid::Uuid;

use super::rows::{Attempts, Budget, BudgetUpdate, NewRow, Row};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

impl From<outbox::Model> for Row {
    fn from(row: outbox::Model) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            message_id: row.message_id,
            sealed: row.sealed,
            queued_at: from_millis(row.queued_at),
            attempts: row.attempts,
            next_attempt_at: row.next_attempt_at.map(from_millis),
            failed_at: row.failed_at.map(from_millis),
            last_error: row.last_error,
        }
    }
}

pub(super) async fn insert(tx: &Tx, queued: &NewRow) -> Result<(), StoreError> {
    let now = queued.queued_at.timestamp_millis();
    let row = outbox::ActiveModel {
        id: Set(queued.id),
        user_id: Set(queued.user),
        kind: Set(queued.kind.name().to_owned()),
        message_id: Set(queued.message_id.clone()),
        sealed: Set(queued.sealed.clone()),
        queued_at: Set(now),
        attempts: Set(0),
        next_attempt_at: Set(Some(now)),
        failed_at: Set(None),
        last_error: Set(None),
    };
    outbox::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the mails whose next attempt is due, the longest overdue first.
pub(super) async fn due(tx: &Tx, now: i64, limit: u64) -> Result<Vec<Row>, StoreError> {
    let query = outbox::Entity::find()
        .filter(outbox::Column::NextAttemptAt.lte(now))
        .order_by_asc(outbox::Column::NextAttemptAt)
        .order_by_asc(outbox::Column::Id)
        .limit(limit);
    Ok(query.all(tx).await?.into_iter().map(Row::from).collect())
}

/// Returns all mails, the oldest first.
pub(super) async fn list(tx: &Tx, limit: u64) -> Result<Vec<Row>, StoreError> {
    let query = outbox::Entity::find().order_by_asc(outbox::Column::Id).limit(limit);
    Ok(query.all(tx).await?.into_iter().map(Row::from).collect())
}

/// Returns the mails of a user whose ids are after `after`, the oldest first.
pub(super) async fn list_of(tx: &Tx, user: Uuid, after: Uuid, limit: u64) -> Result<Vec<Row>, StoreError> {
    let query = outbox::Entity::find()
        .filter(outbox::Column::UserId.eq(user))
        .filter(outbox::Column::Id.gt(after))
        .order_by_asc(outbox::Column::Id)
        .limit(limit);
    Ok(query.all(tx).await?.into_iter().map(Row::from).collect())
}

/// Deletes sent mails.
pub(super) async fn delete(tx: &Tx, ids: &[Uuid]) -> Result<(), StoreError> {
    outbox::Entity::delete_many().filter(outbox::Column::Id.is_in(ids.iter().copied())).exec(tx).await?;
    Ok(())
}

/// Sets the time of the next attempt. Has no effect if another replica has recorded an attempt since the mail
/// was read.
pub(super) async fn postpone(
    tx: &Tx,
    id: Uuid,
    attempts: Attempts,
    next: i64,
    error: &str,
) -> Result<(), StoreError> {
    update(id, attempts, error).col_expr(outbox::Column::NextAttemptAt, Expr::value(next)).exec(tx).await?;
    Ok(())
}

/// Records that the delivery failed permanently.
pub(super) async fn fail(
    tx: &Tx,
    id: Uuid,
    attempts: Attempts,
    now: i64,
    error: &str,
) -> Result<(), StoreError> {
    update(id, attempts, error)
        .col_expr(outbox::Column::NextAttemptAt, Expr::value(Value::BigInt(None)))
        .col_expr(outbox::Column::FailedAt, Expr::value(now))
        .exec(tx)
        .await?;
    Ok(())
}

fn update(id: Uuid, attempts: Attempts, error: &str) -> UpdateMany<outbox::Entity> {
    outbox::Entity::update_many()
        .col_expr(outbox::Column::Attempts, Expr::value(attempts.after))
        .col_expr(outbox::Column::LastError, Expr::value(error))
        .filter(outbox::Column::Id.eq(id))
        .filter(outbox::Column::Attempts.eq(attempts.before))
        .filter(outbox::Column::FailedAt.is_null())
}

pub(super) async fn find_budget(tx: &Tx, mailbox: &[u8]) -> Result<Option<Budget>, StoreError> {
    let row = mail_budgets::Entity::find_by_id(mailbox.to_vec()).one(tx).await?;
    Ok(row.map(|row| Budget { version: row.version, times: row.times }))
}

pub(super) async fn insert_budget(tx: &Tx, update: &BudgetUpdate<'_>) -> Result<(), StoreError> {
    let row = mail_budgets::ActiveModel {
        mailbox: Set(update.mailbox.to_vec()),
        version: Set(1),
        newest_at: Set(update.newest_at),
        times: Set(update.times.clone()),
    };
    mail_budgets::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Replaces a budget if its version is still the version in `update`. Returns `false` if the version has
/// changed.
pub(super) async fn replace_budget(tx: &Tx, update: &BudgetUpdate<'_>) -> Result<bool, StoreError> {
    let done = mail_budgets::Entity::update_many()
        .col_expr(mail_budgets::Column::Version, Expr::value(update.version + 1))
        .col_expr(mail_budgets::Column::NewestAt, Expr::value(update.newest_at))
        .col_expr(mail_budgets::Column::Times, Expr::value(update.times.clone()))
        .filter(mail_budgets::Column::Mailbox.eq(update.mailbox.to_vec()))
        .filter(mail_budgets::Column::Version.eq(update.version))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Counts a mail for the day if fewer than `max` are counted. Returns `false` if `max` is reached, or the day
/// has no row yet.
pub(super) async fn count_in_day(tx: &Tx, day: i64, max: i64) -> Result<bool, StoreError> {
    let incremented: SimpleExpr = Expr::col(mail_days::Column::Mails).add(1_i64);
    let done = mail_days::Entity::update_many()
        .col_expr(mail_days::Column::Mails, incremented)
        .filter(mail_days::Column::Day.eq(day))
        .filter(mail_days::Column::Mails.lt(max))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(super) async fn has_day(tx: &Tx, day: i64) -> Result<bool, StoreError> {
    Ok(mail_days::Entity::find_by_id(day).one(tx).await?.is_some())
}

pub(super) async fn insert_day(tx: &Tx, day: i64) -> Result<(), StoreError> {
    let row = mail_days::ActiveModel { day: Set(day), mails: Set(1) };
    mail_days::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Deletes at most `limit` mails that failed before a time. Returns the number of deleted mails.
pub(super) async fn sweep_failed(tx: &Tx, before: i64, limit: u64) -> Result<u64, StoreError> {
    let old = outbox::Column::FailedAt.lte(before);
    let query = outbox::Entity::find().select_only().column(outbox::Column::Id).filter(old).limit(limit);
    let ids: Vec<Uuid> = query.into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    let done = outbox::Entity::delete_many().filter(outbox::Column::Id.is_in(ids)).exec(tx).await?;
    Ok(done.rows_affected)
}

/// Deletes at most `limit` budgets that have no mail after the time `before`. Returns the number of deleted
/// budgets.
pub(super) async fn sweep_budgets(tx: &Tx, before: i64, limit: u64) -> Result<u64, StoreError> {
    use mail_budgets::{Column, Entity};
    let old = Column::NewestAt.lte(before);
    let query = Entity::find().select_only().column(Column::Mailbox).filter(old.clone()).limit(limit);
    let mailboxes: Vec<Vec<u8>> = query.into_tuple().all(tx).await?;
    if mailboxes.is_empty() {
        return Ok(0);
    }
    let selected = Condition::all().add(Column::Mailbox.is_in(mailboxes)).add(old);
    Ok(Entity::delete_many().filter(selected).exec(tx).await?.rows_affected)
}

/// Deletes the counts of the days before `day`. Returns the number of deleted counts.
pub(super) async fn sweep_days(tx: &Tx, day: i64) -> Result<u64, StoreError> {
    let done = mail_days::Entity::delete_many().filter(mail_days::Column::Day.lt(day)).exec(tx).await?;
    Ok(done.rows_affected)
}

//! Queries on the tables of flows and failures. A query that does not take the owner takes the id of a flow,
//! or the keyed hash of the flow's subject. The id comes from a verified token, or from the client that began
//! the flow. Only [`reserved_subjects`] and the sweeps read the flows of all users.

use ::entity::flow_failures;
use ::entity::flows::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict, Query, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter,
    QuerySelect, UpdateMany,
};
use uuid::Uuid;

use super::{BegunFlow, FAILURE_WINDOW, Flow, Purpose, REPEATABLE, TRIES_MAX};
use crate::db::{StoreError, Tx};

impl Flow {
    fn from_row(row: Model) -> Option<Self> {
        Some(Self {
            id: row.id,
            purpose: Purpose::from_name(&row.purpose)?,
            user: row.user_id,
            address: row.address,
            session: row.session_id,
            is_bound: row.is_bound,
            was_verified: row.was_verified,
            password_hash: row.password_hash,
            is_used: row.used_at.is_some(),
            has_tries: row.tries < TRIES_MAX,
            subject: row.subject,
            code_tag: row.code_tag,
        })
    }
}

pub(super) async fn insert(tx: &Tx, begun: &BegunFlow) -> Result<(), StoreError> {
    let flow = begun.row.clone();
    let row = ActiveModel {
        id: Set(flow.id),
        purpose: Set(flow.purpose.name().to_owned()),
        user_id: Set(flow.user),
        subject: Set(flow.subject),
        address: Set(flow.address),
        session_id: Set(flow.session),
        code_tag: Set(flow.code_tag),
        is_bound: Set(flow.is_bound),
        was_verified: Set(flow.was_verified),
        password_hash: Set(flow.password_hash),
        tries: Set(0),
        created_at: Set(begun.created_at.timestamp_millis()),
        expires_at: Set(begun.expires_at.timestamp_millis()),
        used_at: Set(None),
        superseded_at: Set(None),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the condition that a flow was neither used nor superseded.
fn is_unused() -> Condition {
    Condition::all().add(Column::UsedAt.is_null()).add(Column::SupersededAt.is_null())
}

/// Returns the condition that a flow is unused and has not expired, or is a used confirmation that can still
/// be repeated.
fn is_usable(now: DateTime<Utc>) -> Condition {
    let open = is_unused().add(Column::ExpiresAt.gt(now.timestamp_millis()));
    let repeatable = [Purpose::ConfirmAddress, Purpose::ChangeAddress].map(Purpose::name);
    let repeated = Condition::all()
        .add(Column::UsedAt.gt((now - REPEATABLE).timestamp_millis()))
        .add(Column::Purpose.is_in(repeatable));
    Condition::any().add(open).add(repeated)
}

/// Returns the update that invalidates unused flows.
fn end(now: DateTime<Utc>) -> UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::SupersededAt, Expr::value(now.timestamp_millis()))
        .filter(is_unused())
}

/// Invalidates all unused flows that have the purpose and the subject of `flow`, except `flow` itself.
pub(super) async fn supersede(tx: &Tx, flow: &BegunFlow) -> Result<(), StoreError> {
    end(flow.created_at)
        .filter(Column::Subject.eq(flow.row.subject.clone()))
        .filter(Column::Purpose.eq(flow.row.purpose.name()))
        .filter(Column::Id.ne(flow.id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Counts a try. Returns `false` if the flow is not usable or no further try is allowed.
pub(super) async fn count_try(
    tx: &Tx,
    id: Uuid,
    purposes: &[Purpose],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = Entity::update_many()
        .col_expr(Column::Tries, Expr::col(Column::Tries).add(1_i64))
        .filter(Column::Id.eq(id))
        .filter(Column::Purpose.is_in(purposes.iter().map(|purpose| purpose.name())))
        .filter(Column::Tries.lt(TRIES_MAX))
        .filter(is_usable(now))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Takes back a try.
pub(super) async fn forget_try(tx: &Tx, id: Uuid) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::Tries, Expr::col(Column::Tries).sub(1_i64))
        .filter(Column::Id.eq(id))
        .filter(Column::Tries.gt(0_i64))
        .exec(tx)
        .await?;
    Ok(())
}

/// Returns a flow that is usable, even if no further try is allowed.
pub(super) async fn find_usable(tx: &Tx, id: Uuid, now: DateTime<Utc>) -> Result<Option<Flow>, StoreError> {
    let row = Entity::find_by_id(id).filter(is_usable(now)).one(tx).await?;
    Ok(row.and_then(Flow::from_row))
}

/// Counts a failure of the subject. Returns the number of failures in the current window of
/// [`FAILURE_WINDOW`], which begins with the first failure.
pub(super) async fn count_failure(tx: &Tx, subject: &[u8], now: DateTime<Utc>) -> Result<i64, StoreError> {
    use flow_failures::{Column, Entity};
    let is_over = || Expr::col((Entity, Column::Since)).lte((now - FAILURE_WINDOW).timestamp_millis());
    let incremented = Expr::col((Entity, Column::Failures)).add(1_i64);
    let failures: SimpleExpr = Expr::case(is_over(), 1_i64).finally(incremented).into();
    let since = Expr::col((Entity, Column::Since));
    let since: SimpleExpr = Expr::case(is_over(), now.timestamp_millis()).finally(since).into();
    // MySQL evaluates the assignments in this order. `failures` must come first, because it reads the old
    // value of `since`.
    let conflict = OnConflict::column(Column::Subject)
        .value(Column::Failures, failures)
        .value(Column::Since, since)
        .to_owned();
    let upsert = Query::insert()
        .into_table(Entity)
        .columns([Column::Subject, Column::Since, Column::Failures])
        .values_panic([subject.to_vec().into(), now.timestamp_millis().into(), 1_i64.into()])
        .on_conflict(conflict)
        .take();
    tx.execute(&upsert).await?;
    let query =
        Entity::find().select_only().column(Column::Failures).filter(Column::Subject.eq(subject.to_vec()));
    Ok(query.into_tuple().one(tx).await?.unwrap_or(i64::MAX))
}

/// Takes back a failure of the subject.
pub(super) async fn forget_failure(tx: &Tx, subject: &[u8]) -> Result<(), StoreError> {
    use flow_failures::{Column, Entity};
    Entity::update_many()
        .col_expr(Column::Failures, Expr::col(Column::Failures).sub(1_i64))
        .filter(Column::Subject.eq(subject.to_vec()))
        .filter(Column::Failures.gt(0_i64))
        .exec(tx)
        .await?;
    Ok(())
}

/// Marks a flow as used. Returns `false` if it was already used or superseded, or has expired.
pub(super) async fn close(tx: &Tx, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let done = Entity::update_many()
        .col_expr(Column::UsedAt, Expr::value(now.timestamp_millis()))
        .filter(Column::Id.eq(id))
        .filter(is_unused())
        .filter(Column::ExpiresAt.gt(now.timestamp_millis()))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Returns whether a flow of this purpose and session was used.
pub(super) async fn was_used(
    tx: &Tx,
    user: Uuid,
    purpose: Purpose,
    session: Uuid,
) -> Result<bool, StoreError> {
    let query = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(user))
        .filter(Column::SessionId.eq(session))
        .filter(Column::Purpose.eq(purpose.name()))
        .filter(Column::UsedAt.is_not_null())
        .limit(1);
    Ok(query.into_tuple::<Uuid>().one(tx).await?.is_some())
}

/// Sets when a used flow expires, so that the sweep keeps its row for longer.
pub(super) async fn postpone_expiry(tx: &Tx, id: Uuid, until: DateTime<Utc>) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::ExpiresAt, Expr::value(until.timestamp_millis()))
        .filter(Column::Id.eq(id))
        .filter(Column::UsedAt.is_not_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Invalidates the unused flows of a user, except those that undo a change of address or end a session.
pub(super) async fn end_all(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    let kept = [Purpose::UndoChange, Purpose::EndSession].map(Purpose::name);
    end(now).filter(Column::UserId.eq(user)).filter(Column::Purpose.is_not_in(kept)).exec(tx).await?;
    Ok(())
}

/// Invalidates the unused confirmations of a user's address.
pub(super) async fn end_confirmations(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    let confirmation = Purpose::ConfirmAddress.name();
    end(now).filter(Column::UserId.eq(user)).filter(Column::Purpose.eq(confirmation)).exec(tx).await?;
    Ok(())
}

/// Invalidates those unused undos of a user that are newer than `undo`. Ids are UUIDv7, so the order of the
/// ids is the order of time.
pub(super) async fn end_later_undos(
    tx: &Tx,
    user: Uuid,
    undo: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    end(now)
        .filter(Column::UserId.eq(user))
        .filter(Column::Purpose.eq(Purpose::UndoChange.name()))
        .filter(Column::Id.gt(undo))
        .exec(tx)
        .await?;
    Ok(())
}

/// Returns the condition for an unused undo that reserves its address. An address that was never confirmed is not
/// reserved, so that the owner of the mailbox can sign up with it.
fn reserves_address(now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(Column::Purpose.eq(Purpose::UndoChange.name()))
        .add(Column::WasVerified.eq(true))
        .add(is_unused())
        .add(Column::ExpiresAt.gt(now.timestamp_millis()))
}

/// Returns true if an undo of a user other than `except` can restore the address with this hash.
pub(super) async fn is_reserved(
    tx: &Tx,
    subject: &[u8],
    except: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let query = Entity::find()
        .select_only()
        .column(Column::UserId)
        .filter(Column::Subject.eq(subject.to_vec()))
        .filter(reserves_address(now));
    let users: Vec<Option<Uuid>> = query.into_tuple().all(tx).await?;
    Ok(users.into_iter().any(|user| user != except))
}

/// Returns the subjects of all undos that reserve their address.
pub(super) async fn reserved_subjects(tx: &Tx, now: DateTime<Utc>) -> Result<Vec<Vec<u8>>, StoreError> {
    let query = Entity::find().select_only().column(Column::Subject).filter(reserves_address(now));
    Ok(query.into_tuple().all(tx).await?)
}

/// Deletes up to `limit` flows that expired before the given time. Returns the number of deleted flows.
pub(super) async fn sweep(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let expired = Column::ExpiresAt.lt(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::Id);
    let ids: Vec<Uuid> = query.filter(expired).limit(limit).into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(ids)).exec(tx).await?.rows_affected)
}

/// Deletes up to `limit` counters whose first failure was before the given time. Returns the number of
/// deleted counters.
pub(super) async fn sweep_failures(tx: &Tx, before: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    use flow_failures::{Column, Entity};
    let expired = Column::Since.lt(before.timestamp_millis());
    let query = Entity::find().select_only().column(Column::Subject);
    let subjects: Vec<Vec<u8>> = query.filter(expired.clone()).limit(limit).into_tuple().all(tx).await?;
    if subjects.is_empty() {
        return Ok(0);
    }
    let deleted = Entity::delete_many().filter(Column::Subject.is_in(subjects)).filter(expired);
    Ok(deleted.exec(tx).await?.rows_affected)
}

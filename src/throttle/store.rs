//! Queries on the counters of the throttle. The queries take no owner, because no row belongs to a user.

use ::entity::throttle_buckets::{ActiveModel, Column, Entity, Model};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, InsertStatement, OnConflict, Query, SimpleExpr};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ExprTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::{ALERT_INTERVAL, DELAYS_SECS, Limit, Place, Row, State, limits, longest_block};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

pub(super) async fn states(tx: &Tx, ids: &[i64]) -> Result<Vec<State>, StoreError> {
    let rows = Entity::find().filter(Column::Id.is_in(ids.iter().copied())).all(tx).await?;
    Ok(rows.iter().map(State::from).collect())
}

/// Locks the rows of these places until the end of the transaction. Creates the rows that are missing: a row
/// that does not exist can't be locked.
pub(super) async fn lock(tx: &Tx, places: &[Place], now: DateTime<Utc>) -> Result<(), StoreError> {
    // On SQLite, the transactions that write run one after another.
    if tx.get_database_backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let mut places: Vec<&Place> = places.iter().collect();
    // Concurrent transactions lock the rows in the same order and cannot deadlock.
    places.sort_by_key(|place| place.id);
    for place in places {
        let unchanged =
            OnConflict::column(Column::Id).value(Column::Kind, Expr::col((Entity, Column::Kind))).to_owned();
        let expires_at = (now + longest_block()).timestamp_millis();
        tx.execute(new_row(place, 0, expires_at).on_conflict(unchanged)).await?;
    }
    Ok(())
}

impl From<&Model> for State {
    fn from(row: &Model) -> Self {
        Self {
            id: row.id,
            forgotten_at: from_millis(row.forgotten_at),
            blocked_until: from_millis(row.blocked_until),
        }
    }
}

/// The values in the SQL expressions that add one attempt to a row. All times are in milliseconds.
struct Counting {
    now: i64,
    forget: i64,
    horizon: i64,
    free: i64,
}

impl Counting {
    fn new(limit: &Limit, now: DateTime<Utc>) -> Self {
        Self {
            now: now.timestamp_millis(),
            forget: limit.forget().num_milliseconds(),
            horizon: limit.horizon().num_milliseconds(),
            free: limit.free.into(),
        }
    }

    fn stored() -> Expr {
        Expr::col((Entity, Column::ForgottenAt))
    }

    /// Returns the time at which all counted attempts have expired, including this attempt. If the row was
    /// stored before the clock was set back, the time is limited to the horizon.
    fn forgotten_at(&self) -> SimpleExpr {
        let latest = self.now + self.horizon;
        Expr::case(Self::stored().lte(self.now), Expr::value(self.now + self.forget))
            .case(Self::stored().gte(latest - self.forget), Expr::value(latest))
            .finally(Self::stored().add(self.forget))
            .into()
    }

    /// Returns the end of the block. If the stored time is more than `(k - 2) * forget` in the future, at
    /// least `k - 1` attempts are counted, so this attempt is at least number `k`. Here, `k` is `free` plus
    /// the level in [`DELAYS_SECS`].
    fn blocked_until(&self) -> SimpleExpr {
        let mut ladder = Expr::case(Expr::value(1).eq(0), Expr::value(0_i64));
        for (level, secs) in DELAYS_SECS.into_iter().rev() {
            let ahead = self.now + (self.free + level - 2) * self.forget;
            let until = self.now + secs * 1000;
            ladder = ladder.case(Self::stored().gt(ahead), Expr::value(until));
        }
        ladder.finally(Expr::value(0_i64)).into()
    }
}

/// Counts a failure in each place. Returns whether the owner of the account must be alerted.
pub(super) async fn count_failure(tx: &Tx, places: &[Place], now: DateTime<Utc>) -> Result<bool, StoreError> {
    let mut is_alert = false;
    for place in places {
        count(tx, place, now).await?;
        if place.limit == limits::ACCOUNT {
            is_alert = alert(tx, place, now).await?;
        }
    }
    Ok(is_alert)
}

async fn count(tx: &Tx, place: &Place, now: DateTime<Utc>) -> Result<(), StoreError> {
    let counting = Counting::new(&place.limit, now);
    let first = counting.now + counting.forget;
    let rest = longest_block().num_milliseconds();
    // MySQL assigns the columns in this order. `forgotten_at` is last, because the other expressions read its
    // old value.
    let conflict = OnConflict::column(Column::Id)
        .value(Column::BlockedUntil, counting.blocked_until())
        .value(Column::ExpiresAt, counting.forgotten_at().add(rest))
        .value(Column::Address, place.address.clone())
        .value(Column::Account, place.account)
        .value(Column::ForgottenAt, counting.forgotten_at())
        .to_owned();
    tx.execute(new_row(place, first, first + rest).on_conflict(conflict)).await?;
    Ok(())
}

/// Returns the statement that inserts the row of a place.
fn new_row(place: &Place, forgotten_at: i64, expires_at: i64) -> InsertStatement {
    Query::insert()
        .into_table(Entity)
        .columns([
            Column::Id,
            Column::Kind,
            Column::Account,
            Column::Address,
            Column::ForgottenAt,
            Column::BlockedUntil,
            Column::AlertedUntil,
            Column::ExpiresAt,
        ])
        .values_panic([
            place.id.into(),
            place.limit.name.into(),
            place.account.into(),
            place.address.clone().into(),
            forgotten_at.into(),
            0_i64.into(),
            0_i64.into(),
            expires_at.into(),
        ])
        .take()
}

/// Marks a row as alerted if it has no free failures left and was not marked within [`ALERT_INTERVAL`].
/// Returns whether this call marked the row.
async fn alert(tx: &Tx, place: &Place, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let counting = Counting::new(&place.limit, now);
    let until = (now + ALERT_INTERVAL).timestamp_millis();
    let is_alerted = Column::AlertedUntil.gt(counting.now).and(Column::AlertedUntil.lte(until));
    let done = Entity::update_many()
        .col_expr(Column::AlertedUntil, Expr::value(until))
        .filter(Column::Id.eq(place.id))
        .filter(Column::ForgottenAt.gt(counting.now + (counting.free - 1) * counting.forget))
        .filter(is_alerted.not())
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Counts a request if the limit allows it. Otherwise returns the time from which the limit allows the next
/// request.
pub(super) async fn take(
    tx: &Tx,
    place: &Place,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let counting = Counting::new(&place.limit, now);
    let latest = counting.now + (counting.free - 1) * counting.forget;
    let is_free = Condition::any()
        .add(Column::ForgottenAt.lte(latest))
        // Also allow the request if the stored time is later than possible: the clock was set back after the
        // row was stored.
        .add(Column::ForgottenAt.gt(latest + counting.horizon));
    let done = Entity::update_many()
        .col_expr(Column::ExpiresAt, counting.forgotten_at())
        .col_expr(Column::ForgottenAt, counting.forgotten_at())
        .filter(Column::Id.eq(place.id))
        .filter(is_free)
        .exec(tx)
        .await?;
    if done.rows_affected > 0 {
        return Ok(None);
    }
    if let Some(row) = Entity::find_by_id(place.id).one(tx).await? {
        let wait = row.forgotten_at - latest;
        if wait <= 0 {
            // Another request inserted the row after the update: run the transaction again.
            return Err(StoreError::conflict());
        }
        return Ok(Some(from_millis(counting.now + wait)));
    }
    let first = counting.now + counting.forget;
    let row = ActiveModel {
        id: Set(place.id),
        kind: Set(place.limit.name.to_owned()),
        account: Set(place.account),
        address: Set(place.address.clone()),
        forgotten_at: Set(first),
        blocked_until: Set(0),
        alerted_until: Set(0),
        expires_at: Set(first),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(None)
}

pub(super) async fn reset(tx: &Tx, id: i64) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(tx).await?;
    Ok(())
}

/// Deletes at most `limit` expired rows and returns their number.
pub(super) async fn sweep(tx: &Tx, now: DateTime<Utc>, limit: u64) -> Result<u64, StoreError> {
    let expired = Column::ExpiresAt.lte(now.timestamp_millis());
    let query = Entity::find().select_only().column(Column::Id).filter(expired.clone()).limit(limit);
    let ids: Vec<i64> = query.into_tuple().all(tx).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    Ok(Entity::delete_many().filter(Column::Id.is_in(ids)).filter(expired).exec(tx).await?.rows_affected)
}

/// Returns at most `limit` rows with counted failures, in descending order of the time at which the last
/// counted failure expires.
pub(super) async fn list(tx: &Tx, now: DateTime<Utc>, limit: u64) -> Result<Vec<Row>, StoreError> {
    let query = Entity::find()
        .filter(Column::ForgottenAt.gt(now.timestamp_millis()))
        .order_by_desc(Column::ForgottenAt)
        .limit(limit);
    let row = |row: Model| Row {
        state: State::from(&row),
        kind: row.kind,
        account: row.account,
        address: row.address,
    };
    Ok(query.all(tx).await?.into_iter().map(row).collect())
}

/// Deletes the rows of these accounts, of these addresses, and with these ids. Returns their number.
pub(super) async fn clear(
    tx: &Tx,
    accounts: &[i64],
    addresses: &[String],
    ids: &[i64],
) -> Result<u64, StoreError> {
    let selected = Condition::any()
        .add(Column::Account.is_in(accounts.iter().copied()))
        .add(Column::Address.is_in(addresses.iter().cloned()))
        .add(Column::Id.is_in(ids.iter().copied()));
    Ok(Entity::delete_many().filter(selected).exec(tx).await?.rows_affected)
}

/// Deletes all rows. Returns their number.
pub(super) async fn clear_all(tx: &Tx) -> Result<u64, StoreError> {
    Ok(Entity::delete_many().exec(tx).await?.rows_affected)
}

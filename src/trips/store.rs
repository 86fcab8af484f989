//! The tables of trips, of what remains of them and of the counters of their changes. Every query names
//! the owner.

mod feed;
mod finding;

use ::entity::{trip_counters, trip_tombstones, trips};
use chrono::{DateTime, NaiveDate, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::sqlx::Row as _;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColIdx, ColumnTrait, ConnectionTrait, EntityTrait, Iterable,
    QueryFilter, QueryResult, QuerySelect, Select, TryGetError, TryGetable,
};
use uuid::Uuid;

pub(super) use self::feed::{changed, deleted, lock, sweep};
pub(super) use self::finding::{Found, explain, page};
use super::finding::Keys;
use super::{Draft, Status, Stops, Trip};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// The columns that a trip is read from, in the order of [`Row`]. By position, because looking each
/// up by its name takes longer than reading it.
const COLUMNS: [trips::Column; 12] = [
    trips::Column::Id,
    trips::Column::Title,
    trips::Column::Destination,
    trips::Column::StartDate,
    trips::Column::EndDate,
    trips::Column::TimeZone,
    trips::Column::Notes,
    trips::Column::Status,
    trips::Column::Version,
    trips::Column::CreatedAt,
    trips::Column::UpdatedAt,
    trips::Column::Stops,
];

type Text = Option<String>;
type Row = (Uuid, String, Text, Day, Day, Text, Text, String, i64, i64, i64, String);

/// A calendar day, if there is one.
struct Day(Option<NaiveDate>);

impl TryGetable for Day {
    /// SQLite keeps a day as text, which chrono reads by interpreting a pattern: ours are all of one form.
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text =
            row.try_as_sqlite_row().map(|row| row.try_get::<Option<&str>, _>(index.as_sqlx_sqlite_index()));
        match text {
            Some(Ok(None)) => Ok(Self(None)),
            Some(Ok(Some(text))) if let Some(day) = parse_day(text) => Ok(Self(Some(day))),
            _ => Option::try_get_by(row, index).map(Self),
        }
    }
}

/// Reads a day as it is written here: `2026-11-22`.
fn parse_day(text: &str) -> Option<NaiveDate> {
    let number = |text: &[u8]| {
        text.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text.as_bytes() else { return None };
    let year = i32::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    NaiveDate::from_ymd_opt(year, number(&[m1, m2])?, number(&[d1, d2])?)
}

fn trip(row: Row) -> Trip {
    let (
        id,
        title,
        destination,
        start_date,
        end_date,
        time_zone,
        notes,
        status,
        version,
        created_at,
        updated_at,
        stops,
    ) = row;
    // Written by this program alone; a later version's status shows as the first one.
    let status = Status::parse(&status).unwrap_or_default();
    let (Day(start_date), Day(end_date)) = (start_date, end_date);
    let stops = Stops::kept(stops);
    let draft = Draft { title, destination, start_date, end_date, time_zone, notes, status, stops };
    Trip { id, draft, version, created_at: from_millis(created_at), updated_at: from_millis(updated_at) }
}

fn select(owner: Uuid) -> Select<trips::Entity> {
    trips::Entity::find().select_only().columns(COLUMNS).filter(trips::Column::OwnerId.eq(owner))
}

pub(super) async fn find(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<Trip>, StoreError> {
    let query = select(owner).filter(trips::Column::Id.eq(id));
    Ok(query.into_tuple::<Row>().one(tx).await?.map(trip))
}

/// As [`find`], and nobody else changes it before this transaction ends (SQLite has one writer anyway).
pub(super) async fn find_for_update(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<Trip>, StoreError> {
    let query = select(owner).filter(trips::Column::Id.eq(id)).lock_exclusive();
    Ok(query.into_tuple::<Row>().one(tx).await?.map(trip))
}

/// Raises the owner's counter; [`StoreError::Missing`] if there is no such owner. Its row is locked
/// from here to the end of the transaction, which puts the owner's changes in one order.
pub(super) async fn count_change(tx: &Tx, owner: Uuid) -> Result<(), StoreError> {
    let raised = trip_counters::Entity::update_many()
        .col_expr(trip_counters::Column::Value, Expr::col(trip_counters::Column::Value).add(1))
        .filter(trip_counters::Column::OwnerId.eq(owner))
        .exec(tx)
        .await?;
    if raised.rows_affected == 1 {
        return Ok(());
    }
    let first = trip_counters::ActiveModel { owner_id: Set(owner), value: Set(1) };
    match trip_counters::Entity::insert(first).exec_without_returning(tx).await.map_err(StoreError::from) {
        // Somebody else counted this owner's first change meanwhile: from the start again.
        Err(StoreError::Unique(_)) => Err(StoreError::stale()),
        other => other.map(|_| ()),
    }
}

/// The owner's counter; 0 before the first change.
pub(super) async fn changes(tx: &Tx, owner: Uuid) -> Result<i64, StoreError> {
    let row = tx.query_one(&counter(owner)).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0))
}

/// The counter's value, read by the statement that writes it into a trip.
fn counter(owner: Uuid) -> SelectStatement {
    Query::select()
        .column(trip_counters::Column::Value)
        .from(trip_counters::Entity)
        .and_where(trip_counters::Column::OwnerId.eq(owner))
        .take()
}

pub(super) async fn insert(tx: &Tx, owner: Uuid, trip: &Trip) -> Result<(), StoreError> {
    let row = columns(owner, trip);
    let mut statement = Query::insert();
    let mut values = Vec::new();
    statement.into_table(trips::Entity).columns(trips::Column::iter());
    for column in trips::Column::iter() {
        values.push(match row.get(column).into_value() {
            Some(value) => Expr::value(value),
            None => Expr::SubQuery(None, Box::new(counter(owner).into())),
        });
    }
    statement.values_panic(values);
    tx.execute(&statement).await?;
    Ok(())
}

/// Writes the trip if its version is still `expected`; whether it was.
pub(super) async fn replace(tx: &Tx, owner: Uuid, trip: &Trip, expected: i64) -> Result<bool, StoreError> {
    let done = trips::Entity::update_many()
        .set(columns(owner, trip))
        .col_expr(trips::Column::ChangeSeq, Expr::SubQuery(None, Box::new(counter(owner).into())))
        .filter(trips::Column::OwnerId.eq(owner))
        .filter(trips::Column::Id.eq(trip.id))
        .filter(trips::Column::Version.eq(expected))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Removes the trip if its version is still `expected`; whether it was.
pub(super) async fn delete(tx: &Tx, owner: Uuid, id: Uuid, expected: i64) -> Result<bool, StoreError> {
    let done = trips::Entity::delete_many()
        .filter(trips::Column::OwnerId.eq(owner))
        .filter(trips::Column::Id.eq(id))
        .filter(trips::Column::Version.eq(expected))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Leaves a tombstone, under the change that was counted last.
pub(super) async fn bury(
    tx: &Tx,
    owner: Uuid,
    id: Uuid,
    version: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut statement = Query::insert();
    statement
        .into_table(trip_tombstones::Entity)
        .columns([
            trip_tombstones::Column::OwnerId,
            trip_tombstones::Column::TripId,
            trip_tombstones::Column::ChangeSeq,
            trip_tombstones::Column::Version,
            trip_tombstones::Column::DeletedAt,
        ])
        .values_panic([
            Expr::value(owner),
            Expr::value(id),
            Expr::SubQuery(None, Box::new(counter(owner).into())),
            Expr::value(version),
            Expr::value(now.timestamp_millis()),
        ]);
    tx.execute(&statement).await?;
    Ok(())
}

/// Removes the tombstone of a trip that comes to life again; the version that it had, if there is one.
pub(super) async fn take_tombstone(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<i64>, StoreError> {
    let tombstone = trip_tombstones::Entity::find_by_id((owner, id)).one(tx).await?;
    if tombstone.is_some() {
        trip_tombstones::Entity::delete_by_id((owner, id)).exec(tx).await?;
    }
    Ok(tombstone.map(|tombstone| tombstone.version))
}

/// All columns but `change_seq`, which the database fills in.
fn columns(owner: Uuid, trip: &Trip) -> trips::ActiveModel {
    let Keys { start, title: title_key, search } = Keys::of(&trip.draft);
    let Trip { id, draft, version, created_at, updated_at } = trip.clone();
    trips::ActiveModel {
        owner_id: Set(owner),
        created_at: Set(created_at.timestamp_millis()),
        id: Set(id),
        title: Set(draft.title),
        destination: Set(draft.destination),
        start_date: Set(draft.start_date),
        end_date: Set(draft.end_date),
        time_zone: Set(draft.time_zone),
        notes: Set(draft.notes),
        status: Set(draft.status.name().to_owned()),
        version: Set(version),
        change_seq: sea_orm::ActiveValue::NotSet,
        updated_at: Set(updated_at.timestamp_millis()),
        stops: Set(draft.stops.as_json().to_owned()),
        start_key: Set(start),
        title_key: Set(title_key),
        search: Set(search),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_as_chrono_would() {
        for text in
            ["2026-11-22", "0001-01-01", "9999-12-31", "2024-02-29", "2026-02-29", "2026-13-01", "2026-00-10"]
        {
            assert_eq!(parse_day(text), text.parse().ok(), "{text}");
        }
        for text in ["", "2026-1-01", "+026-01-01", "2026/01/01", "2026-01-01T", "12026-01-01"] {
            assert_eq!(parse_day(text), None, "{text}");
        }
    }
}

//! The tables of trips and of the counters of their changes. Every query names the owner.

use std::sync::{Mutex, PoisonError};

use ::entity::{trip_counters, trips};
use chrono::NaiveDate;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement};
use sea_orm::sqlx::Row as _;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColIdx, ColumnTrait, Condition, ConnectionTrait, DbBackend,
    EntityTrait, Iterable, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait, Select, Statement,
    TryGetError, TryGetable,
};
use uuid::Uuid;

use super::{Draft, Position, Status, Trip};
use crate::clock::from_millis;
use crate::db::{StoreError, Tx};

/// The columns that a trip is read from, in the order of [`Row`]. By position, because looking each
/// up by its name takes longer than reading it.
const COLUMNS: [trips::Column; 11] = [
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
];

type Text = Option<String>;
type Row = (Uuid, String, Text, Day, Day, Text, Text, String, i64, i64, i64);

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
    ) = row;
    // Written by this program alone; a later version's status shows as the first one.
    let status = Status::parse(&status).unwrap_or_default();
    let (Day(start_date), Day(end_date)) = (start_date, end_date);
    let draft = Draft { title, destination, start_date, end_date, time_zone, notes, status };
    Trip { id, draft, version, created_at: from_millis(created_at), updated_at: from_millis(updated_at) }
}

fn select(owner: Uuid) -> Select<trips::Entity> {
    trips::Entity::find().select_only().columns(COLUMNS).filter(trips::Column::OwnerId.eq(owner))
}

pub(super) async fn page(
    tx: &Tx,
    owner: Uuid,
    after: Option<Position>,
    take: u64,
) -> Result<Vec<Trip>, StoreError> {
    let rows = tx.query_all_raw(page_statement(tx.get_database_backend(), owner, after, take)).await?;
    let rows = rows.iter().map(|row| row.try_get_many_by_index::<Row>().map(trip));
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The statement of a page, whose text is built once for each database and kind: for the list, building
/// it takes as long as running it.
fn page_statement(backend: DbBackend, owner: Uuid, after: Option<Position>, take: u64) -> Statement {
    static TEXTS: Mutex<Vec<(DbBackend, bool, String)>> = Mutex::new(Vec::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = texts.iter().find(|(of, next, _)| (*of, *next) == (backend, after.is_some()));
    let text = if let Some((_, _, text)) = known {
        text.clone()
    } else {
        let text = page_query(owner, after, take).build(backend).sql;
        texts.push((backend, after.is_some(), text.clone()));
        text
    };
    let mut values = vec![owner.into()];
    if let Some(Position { created_at, id }) = after {
        let millis = created_at.timestamp_millis();
        values.extend([millis.into(), millis.into(), millis.into(), id.into()]);
    }
    values.push(take.into());
    Statement::from_sql_and_values(backend, text, values)
}

fn page_query(owner: Uuid, after: Option<Position>, take: u64) -> Select<trips::Entity> {
    let mut query = select(owner);
    if let Some(Position { created_at, id }) = after {
        let millis = created_at.timestamp_millis();
        query = query.filter(trips::Column::CreatedAt.lte(millis)).filter(
            Condition::any()
                .add(trips::Column::CreatedAt.lt(millis))
                .add(trips::Column::CreatedAt.eq(millis).and(trips::Column::Id.lt(id))),
        );
    }
    query.order_by_desc(trips::Column::CreatedAt).order_by_desc(trips::Column::Id).limit(take)
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

pub(super) async fn delete(tx: &Tx, owner: Uuid, id: Uuid) -> Result<bool, StoreError> {
    let done = trips::Entity::delete_many()
        .filter(trips::Column::OwnerId.eq(owner))
        .filter(trips::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

/// All columns but `change_seq`, which the database fills in.
fn columns(owner: Uuid, trip: &Trip) -> trips::ActiveModel {
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

    #[test]
    fn the_remembered_statement_is_the_one_that_would_be_built() {
        let position = Position { created_at: from_millis(7), id: Uuid::from_u128(8) };
        for backend in [DbBackend::Sqlite, DbBackend::Postgres, DbBackend::MySql] {
            for after in [None, Some(position), None, Some(position)] {
                let owner = Uuid::from_u128(9);
                assert_eq!(
                    page_statement(backend, owner, after, 21),
                    page_query(owner, after, 21).build(backend)
                );
            }
        }
    }
}

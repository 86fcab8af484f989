//! Queries on the tables of trips, tombstones and change counters. Every query filters by owner, except the
//! search for expired tombstones.

#[cfg(test)]
mod conflict_tests;
mod feed;
mod listing;
mod quotas;
mod search;

use std::collections::HashMap;

use ::entity::{trip_counters, trip_tombstones, trips};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, InsertStatement, OnConflict, Query, SelectStatement};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, DbErr,
    EntityTrait, Iterable, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select, Statement,
};
use uuid::Uuid;

pub(super) use self::feed::{changed, deleted, feed_state, sweep};
pub(super) use self::listing::{FoundPage, page};
use self::quotas::within;
pub(super) use self::quotas::{Limits, trim_tombstones, usage};
pub(super) use self::search::{explain, search};
use super::sort_keys::SortKeys;
use super::{BorrowedTrip, Counter, Status, Trip, Usage};
use crate::clock::from_millis;
use crate::db::{Row, StoreError, Tx, pad_to_power_of_two};

/// The columns of a trip, in the order in which [`borrowed_trip`] reads them. Values are read by index,
/// because looking up a column by name takes longer than reading its value.
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

/// Converts a row that begins with [`COLUMNS`].
fn trip(row: Row<'_>) -> Result<Trip, StoreError> {
    borrowed_trip(row).map(BorrowedTrip::into_owned)
}

/// Converts a row that begins with [`COLUMNS`], without copying its texts.
fn borrowed_trip(row: Row<'_>) -> Result<BorrowedTrip<'_>, StoreError> {
    Ok(BorrowedTrip {
        id: row.get(0)?,
        title: row.get(1)?,
        destination: row.get(2)?,
        start_date: row.get(3)?,
        end_date: row.get(4)?,
        time_zone: row.get(5)?,
        notes: row.get(6)?,
        // Only this program writes the column. A status that a later version has added is unknown to this
        // version, which reads the default instead.
        status: Status::parse(row.get(7)?).unwrap_or_default(),
        version: row.get(8)?,
        created_at: from_millis(row.get(9)?),
        updated_at: from_millis(row.get(10)?),
        stops: row.get(11)?,
    })
}

/// Returns those of the owner's trips that `restrict` selects.
async fn fetch<F>(tx: &Tx, owner: Uuid, restrict: F) -> Result<Vec<Trip>, StoreError>
where
    F: FnOnce(Select<trips::Entity>) -> Select<trips::Entity> + Send,
{
    let statement = restrict(select(owner)).build(tx.get_database_backend());
    tx.query_rows(statement).await?.iter().map(trip).collect()
}

fn select(owner: Uuid) -> Select<trips::Entity> {
    owned(owner).columns(COLUMNS)
}

/// Builds a query of the owner's trips that selects no columns yet.
fn owned(owner: Uuid) -> Select<trips::Entity> {
    trips::Entity::find().select_only().filter(trips::Column::OwnerId.eq(owner))
}

pub(super) async fn find(tx: &Tx, owner: Uuid, id: Uuid) -> Result<Option<Trip>, StoreError> {
    Ok(fetch(tx, owner, |trips| trips.filter(trips::Column::Id.eq(id))).await?.pop())
}

/// Returns up to `limit` of the owner's trips whose ids are after `after`, in the order of their ids.
pub(super) async fn page_by_id(
    tx: &Tx,
    owner: Uuid,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Trip>, StoreError> {
    let after = trips::Column::Id.gt(after.unwrap_or_default());
    fetch(tx, owner, |trips| trips.filter(after).order_by_asc(trips::Column::Id).limit(limit)).await
}

/// Returns and locks the owner's trips with these ids. No other transaction can change these trips before
/// this transaction ends. On SQLite, the query locks no rows, because there is only one writer at a time.
pub(super) async fn find_for_update(tx: &Tx, owner: Uuid, ids: &[Uuid]) -> Result<Vec<Trip>, StoreError> {
    let with_id = trips::Column::Id.is_in(pad_to_power_of_two(ids));
    fetch(tx, owner, |trips| trips.filter(with_id).order_by_asc(trips::Column::Id).lock_exclusive()).await
}

/// Returns the id and version of each of the owner's tombstones with these ids.
pub(super) async fn tombstones(tx: &Tx, owner: Uuid, ids: &[Uuid]) -> Result<Vec<(Uuid, i64)>, StoreError> {
    use trip_tombstones::{Column, Entity};
    let query = Entity::find().select_only().column(Column::TripId).column(Column::Version);
    let query =
        query.filter(Column::OwnerId.eq(owner)).filter(Column::TripId.is_in(pad_to_power_of_two(ids)));
    Ok(query.into_tuple().all(tx).await?)
}

/// Returns the owner's change counter; 0 before the first change.
pub(super) async fn change_counter(tx: &Tx, owner: Uuid) -> Result<i64, StoreError> {
    let rows = tx.query_rows(tx.get_database_backend().build(&counter_query(owner))).await?;
    rows.get(0).map_or(Ok(0), |row| row.get(0))
}

/// Returns the change counters of these owners; owners without a change are missing.
pub(super) async fn counters(tx: &Tx, owners: &[Uuid]) -> Result<HashMap<Uuid, Counter>, StoreError> {
    use trip_counters::{Column, Entity};
    let columns = [Column::OwnerId, Column::Value, Column::Trips, Column::TripBytes];
    let query = Entity::find().select_only().columns(columns);
    let query = query.filter(Column::OwnerId.is_in(pad_to_power_of_two(owners)));
    let rows = tx.query_rows(query.build(tx.get_database_backend())).await?;
    let counter = |row: Row<'_>| {
        let usage = Usage { trips: row.get(2)?, trip_bytes: row.get(3)? };
        Ok((row.get(0)?, Counter { changes: row.get(1)?, usage }))
    };
    rows.iter().map(counter).collect()
}

/// Builds the query of the counter's value. The statements that store the value in a trip contain this query
/// as a subquery.
fn counter_query(owner: Uuid) -> SelectStatement {
    counter_column(owner, trip_counters::Column::Value)
}

/// Builds the query of a column of the counter.
fn counter_column(owner: Uuid, column: trip_counters::Column) -> SelectStatement {
    Query::select()
        .column(column)
        .from(trip_counters::Entity)
        .and_where(trip_counters::Column::OwnerId.eq(owner))
        .take()
}

/// A write of one row, in most cases conditional. The change number of the row is the incremented counter
/// minus `seq_offset`.
#[derive(Debug)]
pub(super) enum Write<'a> {
    /// Increments the owner's counter by the number of changes, and adds `usage` and `tombstones` to it. The
    /// counter's row stays locked until the transaction ends, so the changes of an owner have a single order.
    BumpCounter { changes: i64, usage: Usage, tombstones: i64 },
    /// Deletes the trip if the stored row has this version.
    Delete { id: Uuid, version: i64 },
    /// Deletes the tombstone if the stored row has this version, before a trip or a new tombstone with the
    /// same id is inserted.
    DeleteTombstone { id: Uuid, version: i64 },
    /// Updates the trip if the stored row has this version and the owner is within the limits.
    Update { trip: &'a Trip, version: i64, seq_offset: i64, limits: Limits },
    /// Inserts a trip, if the owner is within the limits.
    Insert { trip: &'a Trip, seq_offset: i64, limits: Limits },
    /// Inserts the tombstone of a deleted trip.
    InsertTombstone { id: Uuid, version: i64, seq_offset: i64, at: DateTime<Utc> },
}

/// Executes the writes.
///
/// # Errors
///
/// [`StoreError::ForeignKeyViolation`] if the owner does not exist; [`StoreError::UniqueViolation`] if a row
/// to insert exists; a conflict if a write affects no row.
pub(super) async fn write(tx: &Tx, owner: Uuid, writes: &[Write<'_>]) -> Result<(), StoreError> {
    let backend = tx.get_database_backend();
    let statements: Result<_, _> = writes.iter().map(|write| write.statement(backend, owner)).collect();
    tx.execute_each(statements?).await
}

impl Write<'_> {
    /// Returns the position of this kind of write in a transaction: deletes come before the inserts that
    /// reuse their ids.
    pub(super) fn order(&self) -> u8 {
        match self {
            Self::BumpCounter { .. } => 0,
            Self::Delete { .. } => 1,
            Self::DeleteTombstone { .. } => 2,
            Self::Update { .. } => 3,
            Self::Insert { .. } => 4,
            Self::InsertTombstone { .. } => 5,
        }
    }

    /// Returns the number of tombstones that this write adds.
    pub(super) fn tombstones(&self) -> i64 {
        match self {
            Self::InsertTombstone { .. } => 1,
            Self::DeleteTombstone { .. } => -1,
            _ => 0,
        }
    }

    fn statement(&self, backend: DbBackend, owner: Uuid) -> Result<Statement, DbErr> {
        Ok(match *self {
            Self::BumpCounter { changes, usage, tombstones } => {
                backend.build(&bump_counter(owner, changes, usage, tombstones))
            }
            Self::Delete { id, version } => {
                let rows = trips::Entity::delete_many().filter(trips::Column::OwnerId.eq(owner));
                rows.filter(trips::Column::Id.eq(id))
                    .filter(trips::Column::Version.eq(version))
                    .build(backend)
            }
            Self::DeleteTombstone { id, version } => trip_tombstones::Entity::delete_many()
                .filter(trip_tombstones::Column::OwnerId.eq(owner))
                .filter(trip_tombstones::Column::TripId.eq(id))
                .filter(trip_tombstones::Column::Version.eq(version))
                .build(backend),
            Self::Update { trip, version, seq_offset, limits } => trips::Entity::update_many()
                .set(changeable_columns(owner, trip))
                .col_expr(trips::Column::ChangeSeq, change_seq(owner, seq_offset))
                .filter(trips::Column::OwnerId.eq(owner))
                .filter(trips::Column::Id.eq(trip.id))
                .filter(trips::Column::Version.eq(version))
                .filter(within(owner, limits))
                .build(backend),
            Self::Insert { trip, seq_offset, limits } => {
                backend.build(&insert(owner, trip, seq_offset, limits)?)
            }
            Self::InsertTombstone { id, version, seq_offset, at } => {
                backend.build(&insert_tombstone(owner, id, version, seq_offset, at))
            }
        })
    }
}

/// Builds the statement that adds `changes`, `usage` and `tombstones` to the owner's counter, or inserts the
/// counter with these values.
fn bump_counter(owner: Uuid, changes: i64, usage: Usage, tombstones: i64) -> InsertStatement {
    use trip_counters::{Column, Entity};
    let numbers = [
        (Column::Value, changes),
        (Column::Trips, usage.trips),
        (Column::TripBytes, usage.trip_bytes),
        (Column::Tombstones, tombstones),
    ];
    let mut conflict = OnConflict::column(Column::OwnerId);
    let mut values = vec![owner.into()];
    for (column, number) in numbers {
        conflict.value(column, Expr::col((Entity, column)).add(number));
        values.push(number.into());
    }
    Query::insert()
        .into_table(Entity)
        .columns([Column::OwnerId].into_iter().chain(numbers.map(|(column, _)| column)))
        .values_panic(values)
        .on_conflict(conflict)
        .take()
}

/// Returns the expression of a change number: the owner's counter minus `seq_offset`.
fn change_seq(owner: Uuid, seq_offset: i64) -> Expr {
    Expr::SubQuery(None, Box::new(counter_query(owner).into())).sub(seq_offset)
}

/// Builds the statement that inserts a trip, unless a tombstone with its id exists. Such a tombstone means
/// that another transaction has deleted a trip with this id since this transaction read the tombstones. The
/// version of the new trip must then continue from the version of the tombstone.
fn insert(owner: Uuid, trip: &Trip, seq_offset: i64, limits: Limits) -> Result<InsertStatement, DbErr> {
    let row = columns(owner, trip);
    let change_seq = || Expr::col((trip_counters::Entity, trip_counters::Column::Value)).sub(seq_offset);
    let value = |column| row.get(column).into_value().map_or_else(change_seq, Expr::value);
    let tombstone = Query::select()
        .expr(Expr::value(1))
        .from(trip_tombstones::Entity)
        .and_where(trip_tombstones::Column::OwnerId.eq(owner))
        .and_where(trip_tombstones::Column::TripId.eq(trip.id))
        .take();
    let source = Query::select()
        .exprs(trips::Column::iter().map(value))
        .from(trip_counters::Entity)
        .and_where(trip_counters::Column::OwnerId.eq(owner))
        .and_where(Expr::exists(tombstone).not())
        .cond_where(limits.condition())
        .take();
    let mut statement = Query::insert();
    let statement = statement.into_table(trips::Entity).columns(trips::Column::iter());
    let statement = statement.select_from(source).map_err(|error| DbErr::Custom(error.to_string()))?;
    Ok(statement.take())
}

fn insert_tombstone(
    owner: Uuid,
    id: Uuid,
    version: i64,
    seq_offset: i64,
    at: DateTime<Utc>,
) -> InsertStatement {
    use trip_tombstones::{Column, Entity};
    let (at, seq) = (Expr::value(at.timestamp_millis()), change_seq(owner, seq_offset));
    Query::insert()
        .into_table(Entity)
        .columns([Column::OwnerId, Column::TripId, Column::ChangeSeq, Column::Version, Column::DeletedAt])
        .values_panic([Expr::value(owner), Expr::value(id), seq, Expr::value(version), at])
        .take()
}

/// Returns the columns that an update can change. A distributed database can reject a statement that assigns
/// the owner, even if the owner stays the same.
fn changeable_columns(owner: Uuid, trip: &Trip) -> trips::ActiveModel {
    let row = columns(owner, trip);
    trips::ActiveModel { owner_id: NotSet, created_at: NotSet, id: NotSet, ..row }
}

/// Returns all columns except `change_seq`, which each statement computes from the counter.
fn columns(owner: Uuid, trip: &Trip) -> trips::ActiveModel {
    let SortKeys { start, title: title_key, search, signatures } = SortKeys::new(&trip.fields);
    let Trip { id, fields, version, created_at, updated_at } = trip.clone();
    let fields = fields.into_inner();
    trips::ActiveModel {
        owner_id: Set(owner),
        created_at: Set(created_at.timestamp_millis()),
        id: Set(id),
        title: Set(fields.title),
        destination: Set(fields.destination),
        start_date: Set(fields.start_date),
        end_date: Set(fields.end_date),
        time_zone: Set(fields.time_zone),
        notes: Set(fields.notes),
        status: Set(fields.status.name().to_owned()),
        version: Set(version),
        change_seq: NotSet,
        updated_at: Set(updated_at.timestamp_millis()),
        stops: Set(fields.stops.as_json().to_owned()),
        start_key: Set(start),
        title_key: Set(title_key),
        search: Set(search),
        search_short: Set(signatures.short),
        search_long: Set(signatures.long),
    }
}

//! The queries of the list: one statement per chunk of a page, for every filter and sort order. A chunk in
//! descending order of the first day can need a second statement. An empty chunk is read twice, because the
//! counter of the owner comes with the first row.
//!
//! Each query filters by the owner first and therefore reads no rows of other owners. A query continues from
//! a position in an index (keyset pagination), so every page of a list costs the same.

use std::sync::{Mutex, PoisonError};

use ::entity::trips;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, Order, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select, Statement, Value,
};
use uuid::Uuid;

use super::super::query::{Filter, ListPosition, Listing, Sort, SortValue};
use super::super::sort_keys::{NO_START, start_key};
use super::{COLUMNS, borrowed_trip, change_counter, counter_query, select};
use crate::db::{Row, Rows, StoreError, Tx, pad_to_power_of_two, with_index};
use crate::trips::{BorrowedTrip, PAGE_BYTES};

/// The column index of the owner's counter, after the columns of the trip.
const COUNTER: usize = COLUMNS.len();
/// The column index of the sort value, if the list sorts by a column that the trip does not contain.
const SORT_VALUE: usize = COUNTER + 1;

/// A page, as read from the database.
#[derive(Debug)]
pub(in crate::trips) struct FoundPage {
    /// The rows of the trips, fewer than the limit if the trips are large.
    pub(super) rows: Vec<Rows>,
    /// The owner's change counter at the time of reading.
    pub(in crate::trips) changes: i64,
    /// The position of the last trip, if the list continues after it.
    pub(in crate::trips) last: Option<ListPosition>,
}

impl FoundPage {
    /// Returns the trips, which borrow their texts from the rows.
    pub(in crate::trips) fn trips(&self) -> impl Iterator<Item = Result<BorrowedTrip<'_>, StoreError>> {
        self.rows.iter().flat_map(Rows::iter).map(borrowed_trip)
    }

    fn len(&self) -> usize {
        self.rows.iter().map(Rows::len).sum()
    }

    /// Returns the approximate size of the trips as JSON, in bytes.
    fn json_len(&self) -> Result<usize, StoreError> {
        self.trips().map(|trip| Ok(trip?.json_len())).sum()
    }
}

/// The number of trips that one statement reads. It is limited, because a trip can be large. Most pages need
/// only one statement.
const CHUNK: u16 = 25;

/// Reads a page, in one chunk if the limit is at most [`CHUNK`]. With `ids`, the page contains only trips
/// with these ids.
pub(in crate::trips) async fn page(
    tx: &Tx,
    listing: &Listing,
    ids: Option<&[Uuid]>,
) -> Result<FoundPage, StoreError> {
    if listing.limit <= CHUNK {
        return load_chunk(tx, listing, ids).await;
    }
    let mut found = load_chunk(tx, &Listing { limit: CHUNK, ..listing.clone() }, ids).await?;
    let mut bytes = found.json_len()?;
    let limit = usize::from(listing.limit);
    let mut left = limit.saturating_sub(found.len());
    while let Some(last) = found.last.take_if(|_| left > 0 && bytes < PAGE_BYTES) {
        let chunk = u16::try_from(left).map_or(CHUNK, |left| std::cmp::min(left, CHUNK));
        let next = Listing { limit: chunk, after: Some(last), ..listing.clone() };
        let next = load_chunk(tx, &next, ids).await?;
        bytes += next.json_len()?;
        left = left.saturating_sub(next.len());
        found.rows.extend(next.rows);
        // The page keeps the counter of its first chunk: a later counter could include a change that the page
        // does not contain, and the entity tag would then identify a state that the client has not seen.
        found.last = next.last;
    }
    Ok(found)
}

/// Reads a chunk of a page and the owner's counter. The counter is never newer than the rows.
async fn load_chunk(tx: &Tx, listing: &Listing, ids: Option<&[Uuid]>) -> Result<FoundPage, StoreError> {
    let rows = fetch_rows(tx, listing, ids).await?;
    // The first row contains the counter from the first statement only if that statement returned a row.
    if rows.first().is_some_and(|first| !first.is_empty()) {
        return to_page(rows, listing);
    }
    // Read the counter, and then the rows again: a counter that is read after the first statement could
    // include a trip that the page does not contain.
    let changes = change_counter(tx, listing.owner).await?;
    let rows = fetch_rows(tx, listing, ids).await?;
    Ok(FoundPage { changes, ..to_page(rows, listing)? })
}

/// Returns whether a separate statement reads the end of the list, the trips without a first day. These trips
/// have the greatest sort key, but a list by latest first day shows them last.
pub(super) fn has_undated_part(listing: &Listing) -> bool {
    listing.sort == Sort::LatestStart && listing.filter.start_range().is_none()
}

/// Returns whether a list in descending order of the first day has reached the trips without a first day.
pub(super) fn is_undated(listing: &Listing) -> bool {
    listing.after.as_ref().is_some_and(|after| after.value == SortValue::Number(NO_START))
}

/// Returns the end of a list in descending order of the first day: the trips without a first day.
pub(super) fn undated_part(listing: &Listing, limit: u16) -> Listing {
    let after = Some(ListPosition { value: SortValue::Number(NO_START), id: Uuid::max() });
    Listing { limit, after, ..listing.clone() }
}

/// Reads the rows of a chunk, one [`Rows`] for each statement. If the list is sorted by the first day in
/// descending order, a second statement reads the trips without a first day.
async fn fetch_rows(tx: &Tx, listing: &Listing, ids: Option<&[Uuid]>) -> Result<Vec<Rows>, StoreError> {
    let backend = tx.get_database_backend();
    let rows = tx.query_rows(page_statement(backend, listing, ids)).await?;
    let left = listing.limit.checked_sub(u16::try_from(rows.len()).unwrap_or(u16::MAX));
    if let Some(limit) = left.filter(|_| has_undated_part(listing) && !is_undated(listing)) {
        let undated = undated_part(listing, limit);
        return Ok(vec![rows, tx.query_rows(page_statement(backend, &undated, ids)).await?]);
    }
    Ok(vec![rows])
}

/// Returns the page with the first rows. One row more than the limit means that the list continues.
fn to_page(mut rows: Vec<Rows>, listing: &Listing) -> Result<FoundPage, StoreError> {
    let all: Vec<Row<'_>> = rows.iter().flat_map(Rows::iter).collect();
    let limit = usize::from(listing.limit);
    let changes: Option<i64> = all.first().map(|row| row.get(COUNTER)).transpose()?.flatten();
    let last = limit.checked_sub(1).filter(|_| all.len() > limit).and_then(|last| all.get(last));
    let last = last.map(|row| position(*row, listing.sort)).transpose()?;
    let mut left = limit;
    for part in &mut rows {
        part.truncate(left);
        left = left.saturating_sub(part.len());
    }
    Ok(FoundPage { rows, changes: changes.unwrap_or(0), last })
}

/// Returns the position of a row in the list.
fn position(row: Row<'_>, sort: Sort) -> Result<ListPosition, StoreError> {
    let trip = borrowed_trip(row)?;
    let value = match sort {
        Sort::Created => SortValue::Number(trip.created_at.timestamp_millis()),
        Sort::Start | Sort::LatestStart => SortValue::Number(start_key(trip.start_date)),
        Sort::Updated => SortValue::Number(row.get(SORT_VALUE)?),
        Sort::Title => SortValue::Text(row.get(SORT_VALUE)?),
    };
    Ok(ListPosition { value, id: trip.id })
}

/// Builds the statement of a page. The SQL text of the default list is cached, because building the text
/// takes as long as running the statement. Each backend has one text with a cursor and one text without a
/// cursor.
pub(super) fn page_statement(backend: DbBackend, listing: &Listing, ids: Option<&[Uuid]>) -> Statement {
    static TEXTS: Mutex<Vec<(DbBackend, bool, String)>> = Mutex::new(Vec::new());
    if ids.is_some() {
        return by_id(query(backend, listing, ids).build(backend));
    }
    if listing.sort != Sort::Created || listing.filter != Filter::default() {
        return query(backend, listing, None).build(backend);
    }
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let cached =
        texts.iter().find(|(of, has_cursor, _)| (*of, *has_cursor) == (backend, listing.after.is_some()));
    let text = if let Some((_, _, text)) = cached {
        text.clone()
    } else {
        let text = query(backend, listing, None).build(backend).sql;
        texts.push((backend, listing.after.is_some(), text.clone()));
        text
    };
    let mut values: Vec<Value> = vec![listing.owner.into(), listing.owner.into()];
    if let Some(ListPosition { value, id }) = &listing.after {
        let value = sql_value(value);
        values.extend([value.clone(), value.clone(), value, (*id).into()]);
    }
    values.push(row_limit(listing).into());
    Statement::from_sql_and_values(backend, text, values)
}

/// Returns the number of rows to read: one row more than the page contains, to detect a next page.
fn row_limit(listing: &Listing) -> u64 {
    u64::from(listing.limit) + 1
}

fn sql_value(value: &SortValue) -> Value {
    match value {
        SortValue::Number(number) => (*number).into(),
        SortValue::Text(text) => text.clone().into(),
    }
}

/// Makes the database read the trips by the index of their ids, regardless of the order of the list.
pub(super) fn by_id(statement: Statement) -> Statement {
    // SQLite generates the name of a constraint's index. This is the second index of the table, after the
    // primary key.
    let is_sqlite = statement.db_backend == DbBackend::Sqlite;
    with_index(statement, "trips", if is_sqlite { "sqlite_autoindex_trips_2" } else { "trips_id" })
}

fn sort_column(listing: &Listing) -> (trips::Column, Order) {
    match listing.sort {
        Sort::Created => (trips::Column::CreatedAt, Order::Desc),
        Sort::Start => (trips::Column::StartKey, Order::Asc),
        Sort::LatestStart => (trips::Column::StartKey, Order::Desc),
        Sort::Updated => (trips::Column::ChangeSeq, Order::Desc),
        Sort::Title => (trips::Column::TitleKey, Order::Asc),
    }
}

/// Builds the query of a page. With `ids`, the page contains only trips with these ids.
pub(super) fn query(backend: DbBackend, listing: &Listing, ids: Option<&[Uuid]>) -> Select<trips::Entity> {
    let (column, order) = sort_column(listing);
    let mut query = filtered(backend, listing);
    if let Some(ids) = ids {
        query = query.filter(trips::Column::Id.is_in(pad_to_power_of_two(ids)));
    }
    query = query.expr(Expr::SubQuery(None, Box::new(counter_query(listing.owner).into())));
    if matches!(listing.sort, Sort::Updated | Sort::Title) {
        query = query.column(column);
    }
    let query = after_position(query, listing);
    query.order_by(column, order.clone()).order_by(trips::Column::Id, order).limit(row_limit(listing))
}

/// Restricts a query to the trips after the position of the list.
pub(super) fn after_position(query: Select<trips::Entity>, listing: &Listing) -> Select<trips::Entity> {
    let Some(ListPosition { value, id }) = &listing.after else { return query };
    let ((column, order), value) = (sort_column(listing), sql_value(value));
    // The second condition implies the first condition, but databases use only the first condition to seek in
    // an index.
    let (index_range, after, id_after) = match order {
        Order::Desc => (column.lte(value.clone()), column.lt(value.clone()), trips::Column::Id.lt(*id)),
        _ => (column.gte(value.clone()), column.gt(value.clone()), trips::Column::Id.gt(*id)),
    };
    let tie = column.eq(value).and(id_after);
    query.filter(index_range).filter(Condition::any().add(after).add(tie))
}

fn filtered(backend: DbBackend, listing: &Listing) -> Select<trips::Entity> {
    let mut query = select(listing.owner);
    let filter = &listing.filter;
    match filter.statuses.as_slice() {
        [] => {}
        [status] => query = query.filter(trips::Column::Status.eq(status.name())),
        statuses => {
            query = query.filter(trips::Column::Status.is_in(statuses.iter().map(|status| status.name())));
        }
    }
    if has_undated_part(listing) {
        query = query.filter(if is_undated(listing) {
            trips::Column::StartKey.eq(NO_START)
        } else {
            trips::Column::StartKey.lt(NO_START)
        });
    }
    if let Some((from, until)) = filter.start_range() {
        query = query.filter(trips::Column::StartKey.between(from, until));
    }
    if let Some(q) = &filter.q {
        query = query.filter(contains_text(backend, q));
    }
    query
}

/// Returns the condition that the searched text contains `q`.
pub(super) fn contains_text(backend: DbBackend, q: &str) -> Expr {
    // Don't use LIKE: it would treat `%` and `_` in the search text as wildcards.
    let function = if backend == DbBackend::Postgres { "strpos" } else { "instr" };
    let position = Func::cust(function).arg(trips::Column::Search.into_expr()).arg(q);
    Expr::from(position).gt(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cached_sql_statement_of_a_list_equals_a_newly_built_statement() {
        let position = ListPosition { value: SortValue::Number(7), id: Uuid::from_u128(8) };
        for backend in [DbBackend::Sqlite, DbBackend::Postgres, DbBackend::MySql] {
            for after in [None, Some(position.clone()), None, Some(position.clone())] {
                let (owner, filter) = (Uuid::from_u128(9), Filter::default());
                let listing = Listing { owner, limit: 20, sort: Sort::Created, filter, after };
                let built = query(backend, &listing, None).build(backend);
                assert_eq!(page_statement(backend, &listing, None), built);
            }
        }
    }
}

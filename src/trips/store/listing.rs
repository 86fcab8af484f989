//! The queries of the list: one statement a page, whatever it is narrowed to and sorted by.
//!
//! Each begins at the owner, so that no row of anybody else is touched, and goes on from a place in an
//! index, so that a page costs the same wherever it lies.

use std::sync::{Mutex, PoisonError};

use ::entity::trips;
use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, Order, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait, Select, Statement, Value,
};
#[cfg(test)]
use uuid::Uuid;

use super::super::cursor::{Key, Position};
use super::super::listing::{Listing, Sort, start_key};
use super::{COLUMNS, Row, changes, counter, select, trip};
use crate::db::{StoreError, Tx};
use crate::trips::{PAGE_BYTES, Trip};

/// Of the columns behind those of the trip: the owner's counter.
const COUNTER: usize = COLUMNS.len();
/// What the list is sorted by, where the trip does not tell.
const KEY: usize = COUNTER + 1;

/// A page as it was found.
#[derive(Debug)]
pub(in crate::trips) struct Found {
    /// As many as were asked for, or fewer if they are large.
    pub(in crate::trips) trips: Vec<Trip>,
    /// The owner's counter when they were read.
    pub(in crate::trips) changes: i64,
    /// The last one of the page, if there are more.
    pub(in crate::trips) last: Option<Position>,
}

/// How many trips are read at a time, because each may be large; more than most pages have.
const CHUNK: u16 = 25;

/// Reads a page, in one statement if it is not a long one.
pub(in crate::trips) async fn page(tx: &Tx, listing: &Listing) -> Result<Found, StoreError> {
    if listing.limit <= CHUNK {
        return load_chunk(tx, listing).await;
    }
    let mut found = load_chunk(tx, &Listing { limit: CHUNK, ..listing.clone() }).await?;
    let mut bytes: usize = found.trips.iter().map(Trip::json_len).sum();
    let limit = usize::from(listing.limit);
    while let Some(last) = found.last.take_if(|_| found.trips.len() < limit && bytes < PAGE_BYTES) {
        let left = u16::try_from(limit - found.trips.len()).unwrap_or(CHUNK);
        let next = Listing { limit: std::cmp::min(left, CHUNK), after: Some(last), ..listing.clone() };
        let next = load_chunk(tx, &next).await?;
        bytes += next.trips.iter().map(Trip::json_len).sum::<usize>();
        found.trips.extend(next.trips);
        // The counter stays that of the first piece: it may not count a trip that the page misses.
        found.last = next.last;
    }
    Ok(found)
}

/// Reads a piece of a page and, in the same statement and so at the same moment, the owner's counter.
async fn load_chunk(tx: &Tx, listing: &Listing) -> Result<Found, StoreError> {
    let found = rows(tx, listing).await?;
    if !found.is_empty() {
        return read(&found, listing);
    }
    // No row tells the counter. It is read before the page, or it might count a trip that the page misses.
    let changes = changes(tx, listing.owner).await?;
    let found = rows(tx, listing).await?;
    if found.is_empty() {
        Ok(Found { trips: Vec::new(), changes, last: None })
    } else {
        read(&found, listing)
    }
}

async fn rows(tx: &Tx, listing: &Listing) -> Result<Vec<QueryResult>, StoreError> {
    Ok(tx.query_all_raw(statement(tx.get_database_backend(), listing)).await?)
}

/// One row more than are asked for tells that there are more.
fn read(rows: &[QueryResult], listing: &Listing) -> Result<Found, StoreError> {
    let (limit, first) = (usize::from(listing.limit), rows.first());
    let trips = rows.iter().take(limit).map(|row| row.try_get_many_by_index::<Row>().map(trip));
    let trips = trips.collect::<Result<Vec<_>, _>>()?;
    let changes: Option<i64> = first.map(|row| row.try_get_by_index(COUNTER)).transpose()?.flatten();
    let last = rows.iter().zip(&trips).last().filter(|_| rows.len() > limit);
    let last = last.map(|(row, trip)| {
        let key = match listing.sort {
            Sort::Created => Key::Number(trip.created_at.timestamp_millis()),
            Sort::Start => Key::Number(start_key(trip.draft.start_date)),
            Sort::Updated => Key::Number(row.try_get_by_index(KEY)?),
            Sort::Title => Key::Text(row.try_get_by_index(KEY)?),
        };
        Ok::<_, StoreError>(Position { key, id: trip.id })
    });
    Ok(Found { trips, changes: changes.unwrap_or(0), last: last.transpose()? })
}

/// How the database would run the statement of a page.
pub(in crate::trips) async fn explain(tx: &Tx, listing: &Listing) -> Result<String, StoreError> {
    let backend = tx.get_database_backend();
    let (explain, columns): (_, &[&str]) = match backend {
        DbBackend::Sqlite => ("EXPLAIN QUERY PLAN", &["detail"]),
        DbBackend::Postgres => ("EXPLAIN", &["QUERY PLAN"]),
        _ => ("EXPLAIN", &["table", "type", "key", "Extra"]),
    };
    let mut statement = statement(backend, listing);
    statement.sql = format!("{explain} {}", statement.sql);
    let mut plan = String::new();
    for row in tx.query_all_raw(statement).await? {
        for column in columns {
            plan.push_str(&row.try_get::<Option<String>>("", column)?.unwrap_or_default());
            plan.push_str(" | ");
        }
        plan.push('\n');
    }
    Ok(plan)
}

/// The statement of a page. The text of the plain list is built once for each database and kind:
/// building it takes as long as running it.
fn statement(backend: DbBackend, listing: &Listing) -> Statement {
    static TEXTS: Mutex<Vec<(DbBackend, bool, String)>> = Mutex::new(Vec::new());
    if listing.sort != Sort::Created || listing.filter != super::super::listing::Filter::default() {
        return query(backend, listing).build(backend);
    }
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = texts.iter().find(|(of, next, _)| (*of, *next) == (backend, listing.after.is_some()));
    let text = if let Some((_, _, text)) = known {
        text.clone()
    } else {
        let text = query(backend, listing).build(backend).sql;
        texts.push((backend, listing.after.is_some(), text.clone()));
        text
    };
    let mut values: Vec<Value> = vec![listing.owner.into(), listing.owner.into()];
    if let Some(Position { key, id }) = &listing.after {
        let key = value(key);
        values.extend([key.clone(), key.clone(), key, (*id).into()]);
    }
    values.push(take(listing).into());
    Statement::from_sql_and_values(backend, text, values)
}

/// One more than the page holds: whether there is a next one.
fn take(listing: &Listing) -> u64 {
    u64::from(listing.limit) + 1
}

fn value(key: &Key) -> Value {
    match key {
        Key::Number(number) => (*number).into(),
        Key::Text(text) => text.clone().into(),
    }
}

fn query(backend: DbBackend, listing: &Listing) -> Select<trips::Entity> {
    let (column, order) = match listing.sort {
        Sort::Created => (trips::Column::CreatedAt, Order::Desc),
        Sort::Start => (trips::Column::StartKey, Order::Asc),
        Sort::Updated => (trips::Column::ChangeSeq, Order::Desc),
        Sort::Title => (trips::Column::TitleKey, Order::Asc),
    };
    let mut query = narrowed(backend, listing);
    query = query.expr(Expr::SubQuery(None, Box::new(counter(listing.owner).into())));
    if matches!(listing.sort, Sort::Updated | Sort::Title) {
        query = query.column(column);
    }
    if let Some(Position { key, id }) = &listing.after {
        let key = value(key);
        // The first condition is implied by the second; it is what an index is entered by.
        let (reached, beyond, later) = match order {
            Order::Desc => (column.lte(key.clone()), column.lt(key.clone()), trips::Column::Id.lt(*id)),
            _ => (column.gte(key.clone()), column.gt(key.clone()), trips::Column::Id.gt(*id)),
        };
        query = query.filter(reached).filter(Condition::any().add(beyond).add(column.eq(key).and(later)));
    }
    query.order_by(column, order.clone()).order_by(trips::Column::Id, order).limit(take(listing))
}

fn narrowed(backend: DbBackend, listing: &Listing) -> Select<trips::Entity> {
    let mut query = select(listing.owner);
    let filter = &listing.filter;
    if let Some(status) = filter.status {
        query = query.filter(trips::Column::Status.eq(status.name()));
    }
    if let Some((from, until)) = filter.starts() {
        query = query.filter(trips::Column::StartKey.between(from, until));
    }
    if let Some(q) = &filter.q {
        // Not LIKE: in what is searched for, no character means anything but itself.
        let place = if backend == DbBackend::Postgres { "strpos" } else { "instr" };
        let place = Func::cust(place).arg(trips::Column::Search.into_expr()).arg(q.as_str());
        query = query.filter(Expr::from(place).gt(0));
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trips::listing::Filter;

    #[test]
    fn the_remembered_statement_is_the_one_that_would_be_built() {
        let position = Position { key: Key::Number(7), id: Uuid::from_u128(8) };
        for backend in [DbBackend::Sqlite, DbBackend::Postgres, DbBackend::MySql] {
            for after in [None, Some(position.clone()), None, Some(position.clone())] {
                let (owner, filter) = (Uuid::from_u128(9), Filter::default());
                let listing = Listing { owner, limit: 20, sort: Sort::Created, filter, after };
                assert_eq!(statement(backend, &listing), query(backend, &listing).build(backend));
            }
        }
    }
}

//! Searches: finds the trips that contain a text, without reading the text of every trip.
//!
//! The first statement tests the signatures of the owner's trips (see `search_index`), which are stored
//! together in an index, and returns candidates. On SQLite, the index contains only the signatures of long
//! texts. There, the same statement compares the short texts themselves, which it finds by another index. The
//! second statement compares the texts of the candidates. The third statement reads the page of the trips
//! that match. A statement that can read many rows is limited by the statement timeout of the connections for
//! searches.

use std::iter;
use std::time::Instant;

use ::entity::trips;
use sea_orm::sea_query::{Expr, UnionType};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    Statement,
};
use search_index::{Column, Probe};
use uuid::Uuid;

use super::super::query::{Filter, ListPosition, Listing, Sort, SortValue};
use super::listing::{
    after_position, by_id, contains_text, has_undated_part, is_undated, page, page_statement, query,
    undated_part,
};
use super::{FoundPage, change_counter, owned};
use crate::db::{StoreError, Tx, with_indexes};

/// The numbers of candidates that the successive statements of a search in the default order read; the last
/// number is repeated. The first numbers are small, because a frequent text fills a page with few candidates.
const BATCHES: [usize; 3] = [64, 256, 1024];
/// The maximum number of candidates of a search in an order other than the default order. Up to this number, the
/// search looks for the text in all candidates before it reads the page. If there are more candidates, the search
/// looks for the text in one trip after another, in the order of the list, until the page is full.
const CANDIDATES_MAX: usize = 2048;

/// Reads a page of the trips that contain `q`.
///
/// # Errors
///
/// [`StoreError::TimedOut`] after `deadline`.
pub(in crate::trips) async fn search(
    tx: &Tx,
    listing: &Listing,
    q: &str,
    deadline: Instant,
) -> Result<FoundPage, StoreError> {
    // Read the counter first, because a later value could include a change that the page does not contain.
    // The entity tag would then identify a state that the client has not seen.
    let changes = change_counter(tx, listing.owner).await?;
    let ids = match listing.sort {
        Sort::Created => Some(first_matches(tx, listing, q, deadline).await?),
        Sort::Start | Sort::LatestStart | Sort::Updated | Sort::Title => {
            sorted_matches(tx, listing, q).await?
        }
    };
    if deadline <= Instant::now() {
        return Err(StoreError::timed_out());
    }
    let found = match ids {
        Some(ids) if ids.is_empty() => FoundPage { rows: Vec::new(), changes, last: None },
        Some(ids) => {
            let filter = Filter { q: None, ..listing.filter.clone() };
            page(tx, &Listing { filter, ..listing.clone() }, Some(&ids)).await?
        }
        None => page(tx, listing, None).await?,
    };
    Ok(FoundPage { changes, ..found })
}

/// Returns the ids of the first matches, newest first: at most one more than the page contains, to detect a
/// next page.
async fn first_matches(
    tx: &Tx,
    listing: &Listing,
    q: &str,
    deadline: Instant,
) -> Result<Vec<Uuid>, StoreError> {
    let wanted = usize::from(listing.limit) + 1;
    let mut rest = listing.clone();
    let mut found = Vec::new();
    let [.., largest] = BATCHES;
    for batch in BATCHES.into_iter().chain(iter::repeat(largest)) {
        let candidates = candidates(tx, &rest, q, batch).await?;
        let ids: Vec<Uuid> = candidates.iter().map(|(_, id)| *id).collect();
        found.extend(matches(tx, listing, &ids, wanted - found.len()).await?);
        match candidates.last() {
            Some((created_at, id)) if candidates.len() == batch && found.len() < wanted => {
                rest.after = Some(ListPosition { value: SortValue::Number(*created_at), id: *id });
            }
            _ => break,
        }
        if deadline <= Instant::now() {
            return Err(StoreError::timed_out());
        }
    }
    Ok(found)
}

/// Returns the ids of the first matches in the order of the list, or `None` if there are too many candidates.
async fn sorted_matches(tx: &Tx, listing: &Listing, q: &str) -> Result<Option<Vec<Uuid>>, StoreError> {
    let all = Listing { sort: Sort::Created, after: None, ..listing.clone() };
    let candidates = candidates(tx, &all, q, CANDIDATES_MAX + 1).await?;
    if candidates.len() > CANDIDATES_MAX {
        return Ok(None);
    }
    let ids: Vec<Uuid> = candidates.into_iter().map(|(_, id)| id).collect();
    matches(tx, listing, &ids, usize::from(listing.limit) + 1).await.map(Some)
}

/// Returns the time of creation and the id of trips that may contain `q`, newest first.
async fn candidates(
    tx: &Tx,
    listing: &Listing,
    q: &str,
    limit: usize,
) -> Result<Vec<(i64, Uuid)>, StoreError> {
    let statement = candidates_statement(tx.get_database_backend(), listing, q, limit);
    let rows = tx.query_all_raw(statement).await?;
    Ok(rows.iter().map(QueryResult::try_get_many_by_index).collect::<Result<_, _>>()?)
}

fn candidates_statement(backend: DbBackend, listing: &Listing, q: &str, limit: usize) -> Statement {
    let (of, mut probes) = search_index::probes(q);
    // Repeat the last bit until the number of bits is a power of two, so that there are few different SQL
    // texts.
    probes.extend(
        probes.last().copied().into_iter().cycle().take(probes.len().next_power_of_two() - probes.len()),
    );
    let (signature, index) = match of {
        Column::Short => (trips::Column::SearchShort, "trips_search_short"),
        Column::Long => (trips::Column::SearchLong, "trips_search_long"),
    };
    let keys = owned(listing.owner).column(trips::Column::CreatedAt).column(trips::Column::Id);
    let keys = after_position(keys, listing);
    let mut query = keys.clone();
    for probe in probes {
        query = query.filter(contains(backend, signature, probe));
    }
    if backend == DbBackend::Sqlite {
        // The index of the signatures contains only the trips with long texts, and `trips_short_texts` only
        // those with short texts; a few trips are in both indexes. The conditions compare the lengths of
        // signatures. The maximum is a literal, because SQLite uses a partial index only if the statement
        // repeats the condition of the index.
        let length = |of: Column, signature: trips::Column, comparison| {
            let max = of.short_text_max();
            Expr::cust_with_expr(format!("length(?) {comparison} {max}"), signature.into_expr())
        };
        let is_short = length(Column::Short, trips::Column::SearchShort, "<=");
        let short = keys.filter(is_short).filter(contains_text(backend, q));
        query = query.filter(length(of, signature, ">"));
        QuerySelect::query(&mut query).union(UnionType::All, short.into_query());
    }
    query = query.order_by_desc(trips::Column::CreatedAt).order_by_desc(trips::Column::Id);
    // The second index is for the second part of the statement. Only the statement for SQLite has this part.
    with_indexes(query.limit(limit as u64).build(backend), "trips", &[index, "trips_short_texts"])
}

/// Returns the condition that a signature contains a bit. Databases have no common function for this test.
fn contains(backend: DbBackend, signature: trips::Column, Probe { byte, mask }: Probe) -> Expr {
    let column = || signature.into_expr();
    let (byte, bit) = (Expr::value(i32::from(byte)), Expr::value(i32::from(mask)));
    match backend {
        DbBackend::Sqlite => {
            // SQLite can't convert a byte of a blob to a number. Search for the byte in the list of all bytes
            // that have this bit.
            let bytes: Vec<u8> = (0..=u8::MAX).filter(|byte| byte & mask != 0).collect();
            let text = "instr(?, substr(?, 1 + ? % length(?), 1)) > 0";
            Expr::cust_with_exprs(text, [Expr::value(bytes), column(), byte, column()])
        }
        DbBackend::Postgres => {
            let text = "(get_byte($1, $2 % length($3)) & $4) <> 0";
            Expr::cust_with_exprs(text, [column(), byte, column(), bit])
        }
        _ => {
            let text = "(ord(substring(?, 1 + ? % length(?), 1)) & ?) <> 0";
            Expr::cust_with_exprs(text, [column(), byte, column(), bit])
        }
    }
}

/// Returns those of `ids` whose trips match, at most `limit`, in the order of the list.
async fn matches(tx: &Tx, listing: &Listing, ids: &[Uuid], limit: usize) -> Result<Vec<Uuid>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let backend = tx.get_database_backend();
    let mut rows = tx.query_all_raw(matches_statement(backend, listing, ids, limit)).await?;
    if rows.len() < limit && has_undated_part(listing) && !is_undated(listing) {
        let undated = undated_part(listing, listing.limit);
        rows.extend(tx.query_all_raw(matches_statement(backend, &undated, ids, limit - rows.len())).await?);
    }
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}

fn matches_statement(backend: DbBackend, listing: &Listing, ids: &[Uuid], limit: usize) -> Statement {
    let query = query(backend, listing, Some(ids)).select_only().column(trips::Column::Id);
    by_id(query.limit(limit as u64).build(backend))
}

/// Returns the database's query plans for the statements of a page.
pub(in crate::trips) async fn explain(tx: &Tx, listing: &Listing) -> Result<String, StoreError> {
    let backend = tx.get_database_backend();
    let mut statements = vec![page_statement(backend, listing, None)];
    if let Some(q) = &listing.filter.q {
        let ids = [Uuid::nil(); CANDIDATES_MAX / 4];
        statements.push(candidates_statement(backend, listing, q, CANDIDATES_MAX));
        statements.push(matches_statement(backend, listing, &ids, CANDIDATES_MAX));
        statements.push(page_statement(backend, listing, Some(&ids)));
    }
    let (explain, columns): (_, &[&str]) = match backend {
        DbBackend::Sqlite => ("EXPLAIN QUERY PLAN", &["detail"]),
        DbBackend::Postgres => ("EXPLAIN", &["QUERY PLAN"]),
        _ => ("EXPLAIN", &["table", "type", "key", "Extra"]),
    };
    let mut plan = String::new();
    for mut statement in statements {
        statement.sql = format!("{explain} {}", statement.sql);
        for row in tx.query_all_raw(statement).await? {
            for column in columns {
                plan.push_str(&row.try_get::<Option<String>>("", column)?.unwrap_or_default());
                plan.push_str(" | ");
            }
            plan.push('\n');
        }
    }
    Ok(plan)
}

//! Copies all rows of a database to another database. The two databases can be of different kinds.
//!
//! The tables and columns come from the catalogs of both databases. Both databases are read in the order of
//! the primary keys and compared row by row. Rows that are missing in the target are inserted, rows that
//! differ are replaced, and rows that the source does not have are deleted. After an interruption, the next
//! run therefore continues the copy, and a second copy writes only the differences. The source is read in one
//! snapshot, which blocks no writer. At the end the target is read again, and the number and the checksum of
//! the rows of each table are compared.

mod catalog;
mod marker;
mod rows;
mod values;
mod writer;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use sea_orm::{Database, DatabaseConnection, DbErr};

use super::connection_options::{is_sqlite, server_options, sqlite_options};
use super::lanes::Lane;
use super::open::{check_connection, sqlite_file, unreachable};
use super::{OpenError, StoreError};
use catalog::{Column, OWN_TABLES, Table};
use rows::{Reader, Scan, Summary};
use values::{Cell, Row};
use writer::Writer;

pub use marker::CopyMark;

/// The number of rows after which progress is reported.
const REPORT_EVERY: u64 = 1000;

/// Why a database can't be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A statement failed.
    #[error("failed to copy the database")]
    Store(#[from] StoreError),
    /// The databases don't have the same tables and columns.
    #[error("the schema cannot be copied: {0}")]
    Schema(String),
    /// The copy is not the same as the source.
    #[error(
        "the table {0} differs from its source after the copy; another program may have written to the target: stop \
         that program and run the command again"
    )]
    Differs(String),
}

impl From<DbErr> for CopyError {
    fn from(error: DbErr) -> Self {
        Self::Store(error.into())
    }
}

/// A copied table. Both databases have the same number of rows with the same checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// The name of the table.
    pub name: String,
    /// The number of rows.
    pub rows: u64,
    /// The SHA-256 of all rows in hexadecimal.
    pub sha256: String,
    /// The number of rows that this run inserted. Earlier runs inserted the other rows.
    pub inserted: u64,
}

/// The progress of a copy.
#[derive(Debug, Clone, Copy)]
pub struct CopyProgress<'a> {
    /// The table that is being read.
    pub table: &'a str,
    /// The number of rows that were read so far, in all tables.
    pub rows: u64,
    /// The number of rows in all tables.
    pub total: u64,
}

/// Connects to a server with up to `size` connections. Connects to a SQLite file with read-only connections
/// if `read_only`, and otherwise with one connection for writes.
async fn connect(url: &str, size: u32, read_only: bool) -> Result<DatabaseConnection, CopyError> {
    let options = if is_sqlite(url) {
        sqlite_options(url, read_only.then(Lane::default))
    } else {
        server_options(url, size)
    };
    Ok(Database::connect(options).await.map_err(unreachable(url))?)
}

/// Runs a function that only reads, on a new connection. If the SQLite file does not exist, returns the
/// default value, because there are no tables.
async fn read<T: Default>(
    url: &str,
    work: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, CopyError>,
) -> Result<T, CopyError> {
    if sqlite_file(url)?.is_some_and(|path| !path.exists()) {
        return Ok(T::default());
    }
    check_connection(url).await?;
    let connection = connect(url, 1, true).await?;
    let result = work(&connection).await;
    connection.close().await?;
    result
}

/// Returns the tables that a copy of this database contains. Each table comes after the tables that its
/// foreign keys refer to.
///
/// # Errors
///
/// [`CopyError`].
pub async fn copied_tables(url: &str) -> Result<Vec<String>, CopyError> {
    let tables = read(url, async |connection| catalog::read(connection).await).await?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}

/// Returns the names of all tables of a database.
async fn table_names(url: &str) -> Result<BTreeSet<String>, CopyError> {
    read(url, async |connection| Ok(catalog::names(connection).await?)).await
}

/// Returns the first table of the target that belongs to another program, or `None` if there is none.
///
/// # Errors
///
/// [`CopyError`].
pub async fn find_foreign_table(source: &str, target: &str) -> Result<Option<String>, CopyError> {
    let known = table_names(source).await?;
    let mut found = table_names(target).await?.into_iter();
    Ok(found.find(|name| !known.contains(name) && !OWN_TABLES.contains(&name.as_str())))
}

/// Returns whether a database has no tables at all.
///
/// # Errors
///
/// [`CopyError`].
pub async fn has_no_tables(url: &str) -> Result<bool, CopyError> {
    Ok(table_names(url).await?.is_empty())
}

/// Returns whether the database has a row in one of the tables that a copy contains.
///
/// # Errors
///
/// [`CopyError`].
pub async fn has_rows(url: &str) -> Result<bool, CopyError> {
    read(url, async |connection| {
        // List the tables before opening the reader, because the reader takes the only connection to a
        // server.
        let names = catalog::names(connection).await?;
        let mut reader = Reader::open(connection).await?;
        for name in names {
            if !OWN_TABLES.contains(&name.as_str()) && reader.count(&name).await? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    })
    .await
}

/// Returns the mark of a copy, or `None` if the database is not a copy.
///
/// # Errors
///
/// [`CopyError`].
pub async fn find_copy_mark(url: &str) -> Result<Option<CopyMark>, CopyError> {
    read(url, async |connection| Ok(marker::find(connection).await?)).await
}

/// Marks a database as a copy.
///
/// # Errors
///
/// [`CopyError`].
pub async fn mark_copy(url: &str, mark: &CopyMark) -> Result<(), CopyError> {
    let connection = connect(url, 1, false).await?;
    let result = marker::put(&connection, mark).await;
    connection.close().await?;
    result
}

/// A table in both databases, with its columns in the same order.
#[derive(Debug)]
struct Pair {
    source: Table,
    target: Table,
    /// The positions of the columns of the primary key.
    key: Vec<usize>,
}

impl Pair {
    fn compare(&self, a: &[Cell], b: &[Cell]) -> Ordering {
        let differing = self.key.iter().map(|&index| a.get(index).cmp(&b.get(index)));
        differing.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Combines the tables of both databases. Moves the table `last` to the end.
fn pairs(source: Vec<Table>, target: Vec<Table>, last: &str) -> Result<Vec<Pair>, CopyError> {
    let differ = |what: String| CopyError::Schema(format!("{what} is missing in one of the databases"));
    let mut targets: BTreeMap<String, Table> =
        target.into_iter().map(|table| (table.name.clone(), table)).collect();
    let mut pairs = Vec::new();
    for source in source {
        let mut target = targets.remove(&source.name).ok_or_else(|| differ(source.name.clone()))?;
        let mut columns: BTreeMap<String, Column> =
            target.columns.into_iter().map(|column| (column.name.clone(), column)).collect();
        target.columns = Vec::new();
        for Column { name, .. } in &source.columns {
            let column = columns.remove(name).ok_or_else(|| differ(format!("{}.{name}", source.name)))?;
            target.columns.push(column);
        }
        if let Some(name) = columns.into_keys().next() {
            return Err(differ(format!("{}.{name}", source.name)));
        }
        let position = |key: &String| source.columns.iter().position(|column| column.name == *key);
        let key = source.key.iter().filter_map(position).collect();
        // Read both tables in the order of the same key.
        target.key.clone_from(&source.key);
        pairs.push(Pair { source, target, key });
    }
    if let Some(name) = targets.into_keys().next() {
        return Err(differ(name));
    }
    pairs.sort_by_key(|pair| pair.source.name == last);
    Ok(pairs)
}

/// Copies all tables. The rows of the table `last` are deleted first and inserted last, so that the target has them
/// only if everything else is complete.
///
/// # Errors
///
/// [`CopyError`].
pub async fn copy_tables(
    source: &str,
    target: &str,
    last: &str,
    progress: &dyn Fn(CopyProgress<'_>),
) -> Result<Vec<CopiedTable>, CopyError> {
    let from = connect(source, 2, true).await?;
    let to = connect(target, 1, false).await?;
    let old = connect(target, 1, true).await?;
    let copy = async {
        let pairs = pairs(catalog::read(&from).await?, catalog::read(&to).await?, last)?;
        let mut reader = Reader::open(&from).await?;
        reader.begin_snapshot().await?;
        let mut total = 0;
        for pair in &pairs {
            total += reader.count(&pair.source.name).await?;
        }
        let old = Reader::open(&old).await?;
        let copy = Copy { reader, old, writer: Writer::new(to.clone()), progress, total };
        copy.run(&pairs, last).await
    };
    let copied = copy.await;
    for connection in [from, to, old] {
        connection.close().await?;
    }
    copied
}

struct Copy<'a> {
    /// Reads the source.
    reader: Reader,
    /// Reads the target.
    old: Reader,
    writer: Writer,
    progress: &'a dyn Fn(CopyProgress<'_>),
    total: u64,
}

/// What a pass over the tables does with rows that differ. A new row can have a unique value that an outdated
/// row of the target still has, so all outdated rows are deleted before the first row is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Delete,
    Insert,
}

impl Copy<'_> {
    async fn run(mut self, pairs: &[Pair], last: &str) -> Result<Vec<CopiedTable>, CopyError> {
        if pairs.iter().any(|pair| pair.target.name == last) {
            self.writer.clear(last).await?;
        }
        for pair in pairs {
            if self.old.count(&pair.target.name).await? > 0 {
                (self, _, _) = self.pass(pair, Pass::Delete, 0).await?;
            }
        }
        let mut copied = Vec::new();
        let mut done = 0;
        for pair in pairs {
            let (copy, summary, inserted) = self.pass(pair, Pass::Insert, done).await?;
            self = copy;
            done += summary.rows;
            let Summary { rows, sha256 } = summary;
            copied.push(CopiedTable { name: pair.source.name.clone(), rows, sha256, inserted });
        }
        let targets: Vec<Table> = pairs.iter().map(|pair| pair.target.clone()).collect();
        self.writer.complete(&targets).await?;
        for (pair, copied) in pairs.iter().zip(&copied) {
            let mut scan = Scan::start(self.old, &pair.target);
            while scan.next().await?.is_some() {}
            let (old, summary) = scan.finish().await?;
            self.old = old;
            if summary != (Summary { rows: copied.rows, sha256: copied.sha256.clone() }) {
                return Err(CopyError::Differs(copied.name.clone()));
            }
        }
        Ok(copied)
    }

    /// Compares a table in both databases and changes the target. Returns the summary of the source's rows,
    /// and the number of changes.
    async fn pass(self, pair: &Pair, pass: Pass, done: u64) -> Result<(Self, Summary, u64), CopyError> {
        let Self { reader, old, mut writer, progress, total } = self;
        let (mut source, mut target) = (Scan::start(reader, &pair.source), Scan::start(old, &pair.target));
        let (mut changes, mut read) = (0, 0);
        let (mut new, mut old) = (source.next().await?, target.next().await?);
        loop {
            let order = match (&new, &old) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(new), Some(old)) => pair.compare(new, old),
            };
            let is_outdated = order.is_gt() || (order.is_eq() && new != old);
            let outdated = if order.is_ge() { advance(&mut old, &mut target).await? } else { None };
            let current = if order.is_le() { advance(&mut new, &mut source).await? } else { None };
            if pass == Pass::Insert && current.is_some() {
                read += 1;
                if read % REPORT_EVERY == 0 {
                    progress(CopyProgress { table: &pair.source.name, rows: done + read, total });
                }
            }
            match (pass, outdated, current) {
                (Pass::Delete, Some(row), _) if is_outdated => {
                    changes += 1;
                    writer.delete(&pair.target, row).await?;
                }
                (Pass::Insert, None, Some(row)) => {
                    changes += 1;
                    writer.insert(&pair.target, row).await?;
                }
                _ => {}
            }
        }
        writer.finish(&pair.target).await?;
        let (reader, summary) = source.finish().await?;
        let (old, _) = target.finish().await?;
        Ok((Self { reader, old, writer, progress, total }, summary, changes))
    }
}

/// Replaces `row` with the next row of the scan. Returns the replaced row.
async fn advance(row: &mut Option<Row>, scan: &mut Scan) -> Result<Option<Row>, CopyError> {
    let next = scan.next().await?;
    Ok(mem::replace(row, next))
}

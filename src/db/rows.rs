//! Rows whose values are read by index, in the same way for each database.
//!
//! A row is a row of sea-orm, or a row that a thread of `row_readers` has copied from SQLite. sea-orm can't
//! represent a copied row without a map of names for each row.

use std::sync::Arc;

use chrono::NaiveDate;
use sea_orm::sqlx::Row as _;
use sea_orm::{DbErr, QueryResult, RuntimeErr, TryGetError, TryGetable};
use uuid::Uuid;

use super::StoreError;
use crate::calendar_date;

/// The rows that a statement returned.
#[derive(Debug)]
pub struct Rows(Source);

#[derive(Debug)]
enum Source {
    Driver(Vec<QueryResult>),
    Sqlite(SqliteRows),
}

/// A row of [`Rows`].
#[derive(Debug, Clone, Copy)]
pub struct Row<'a>(RowSource<'a>);

#[derive(Debug, Clone, Copy)]
enum RowSource<'a> {
    Driver(&'a QueryResult),
    Sqlite { rows: &'a SqliteRows, first_cell: usize },
}

/// The rows of a statement on SQLite. The texts of all rows are in one buffer, because each allocation that
/// one thread makes and another thread frees is expensive.
#[derive(Debug)]
pub(super) struct SqliteRows {
    columns: usize,
    /// The values, row by row.
    cells: Vec<Cell>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Integer(i64),
    /// A floating-point number. The value is not kept, because no column of Tripgate stores such numbers.
    Real,
    Text {
        start: usize,
        end: usize,
    },
    Blob {
        start: usize,
        end: usize,
    },
}

/// A value of SQLite.
#[derive(Debug, Clone, Copy)]
pub enum SqliteValue<'a> {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real,
    /// A text, which can be invalid UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl SqliteRows {
    /// Creates an empty result with this number of columns, and with enough space for most pages of a list of
    /// trips.
    pub(super) fn new(columns: usize) -> Self {
        Self { columns, cells: Vec::with_capacity(columns * 24), bytes: Vec::with_capacity(4096) }
    }

    /// Appends the next value of the last row, or the first value of a new row.
    pub(super) fn push(&mut self, value: SqliteValue<'_>) {
        let start = self.bytes.len();
        if let SqliteValue::Text(bytes) | SqliteValue::Blob(bytes) = value {
            self.bytes.extend_from_slice(bytes);
        }
        let end = self.bytes.len();
        self.cells.push(match value {
            SqliteValue::Null => Cell::Null,
            SqliteValue::Integer(number) => Cell::Integer(number),
            SqliteValue::Real => Cell::Real,
            SqliteValue::Text(_) => Cell::Text { start, end },
            SqliteValue::Blob(_) => Cell::Blob { start, end },
        });
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }

    fn truncate(&mut self, len: usize) {
        self.cells.truncate(len.saturating_mul(self.columns));
    }

    fn value(&self, first_cell: usize, column: usize) -> Option<SqliteValue<'_>> {
        let cell = (column < self.columns).then(|| self.cells.get(first_cell + column)).flatten()?;
        Some(match *cell {
            Cell::Null => SqliteValue::Null,
            Cell::Integer(number) => SqliteValue::Integer(number),
            Cell::Real => SqliteValue::Real,
            Cell::Text { start, end } => SqliteValue::Text(self.bytes.get(start..end)?),
            Cell::Blob { start, end } => SqliteValue::Blob(self.bytes.get(start..end)?),
        })
    }
}

impl From<Vec<QueryResult>> for Rows {
    fn from(rows: Vec<QueryResult>) -> Self {
        Self(Source::Driver(rows))
    }
}

impl From<SqliteRows> for Rows {
    fn from(rows: SqliteRows) -> Self {
        Self(Source::Sqlite(rows))
    }
}

impl Rows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        match &self.0 {
            Source::Driver(rows) => rows.len(),
            Source::Sqlite(rows) => rows.len(),
        }
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all rows after the first `len` rows.
    pub fn truncate(&mut self, len: usize) {
        match &mut self.0 {
            Source::Driver(rows) => rows.truncate(len),
            Source::Sqlite(rows) => rows.truncate(len),
        }
    }

    /// Returns the row at `index`.
    pub fn get(&self, index: usize) -> Option<Row<'_>> {
        match &self.0 {
            Source::Driver(rows) => rows.get(index).map(|row| Row(RowSource::Driver(row))),
            Source::Sqlite(rows) => (index < rows.len())
                .then(|| Row(RowSource::Sqlite { rows, first_cell: index * rows.columns })),
        }
    }

    /// Returns the rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }
}

impl<'a> Row<'a> {
    /// Returns the value of the column at `index`. A `&str` is borrowed from the row.
    ///
    /// # Errors
    ///
    /// [`StoreError::Other`] if there is no such column, or if its value has another type.
    pub fn get<T: ColumnValue<'a>>(&self, index: usize) -> Result<T, StoreError> {
        let value = match self.0 {
            RowSource::Driver(row) => T::from_driver(row, index).map_err(DbErr::from),
            RowSource::Sqlite { rows, first_cell } => rows
                .value(first_cell, index)
                .and_then(T::from_sqlite)
                .ok_or_else(|| DbErr::Type(format!("column {index} is missing or has another type"))),
        };
        Ok(value?)
    }
}

/// A type of values that [`Row::get`] returns.
pub trait ColumnValue<'a>: Sized {
    /// Reads the value from a row of sea-orm.
    ///
    /// # Errors
    ///
    /// [`TryGetError::Null`] if the value is NULL and the type is not an [`Option`].
    fn from_driver(row: &'a QueryResult, index: usize) -> Result<Self, TryGetError>;

    /// Converts a value of SQLite. Returns `None` if the value has another type.
    fn from_sqlite(value: SqliteValue<'a>) -> Option<Self>;
}

impl ColumnValue<'_> for i64 {
    fn from_driver(row: &QueryResult, index: usize) -> Result<Self, TryGetError> {
        Self::try_get_by(row, index)
    }

    fn from_sqlite(value: SqliteValue<'_>) -> Option<Self> {
        match value {
            SqliteValue::Integer(number) => Some(number),
            _ => None,
        }
    }
}

/// sea-orm returns only copies of texts, so this implementation borrows the text from the row of the driver.
impl<'a> ColumnValue<'a> for &'a str {
    fn from_driver(row: &'a QueryResult, index: usize) -> Result<Self, TryGetError> {
        let found = if let Some(row) = row.try_as_sqlite_row() {
            row.try_get::<Option<&str>, _>(index)
        } else if let Some(row) = row.try_as_pg_row() {
            row.try_get(index)
        } else if let Some(row) = row.try_as_mysql_row() {
            row.try_get(index)
        } else {
            return Err(DbErr::Type("the row is of an unknown driver".to_owned()).into());
        };
        let failed = |error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)));
        found.map_err(failed)?.ok_or_else(|| TryGetError::Null(index.to_string()))
    }

    fn from_sqlite(value: SqliteValue<'a>) -> Option<Self> {
        match value {
            SqliteValue::Text(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

impl<'a> ColumnValue<'a> for String {
    fn from_driver(row: &'a QueryResult, index: usize) -> Result<Self, TryGetError> {
        <&str>::from_driver(row, index).map(ToOwned::to_owned)
    }

    fn from_sqlite(value: SqliteValue<'a>) -> Option<Self> {
        <&str>::from_sqlite(value).map(ToOwned::to_owned)
    }
}

/// SQLite stores a UUID as its 16 bytes.
impl ColumnValue<'_> for Uuid {
    fn from_driver(row: &QueryResult, index: usize) -> Result<Self, TryGetError> {
        Self::try_get_by(row, index)
    }

    fn from_sqlite(value: SqliteValue<'_>) -> Option<Self> {
        match value {
            SqliteValue::Blob(bytes) => Self::from_slice(bytes).ok(),
            _ => None,
        }
    }
}

/// SQLite stores a day as text. [`calendar_date::parse`] parses the text faster than the driver does.
impl ColumnValue<'_> for NaiveDate {
    fn from_driver(row: &QueryResult, index: usize) -> Result<Self, TryGetError> {
        let text = row.try_as_sqlite_row().and_then(|row| row.try_get::<Option<&str>, _>(index).ok());
        match text.flatten().and_then(calendar_date::parse) {
            Some(day) => Ok(day),
            None => Self::try_get_by(row, index),
        }
    }

    fn from_sqlite(value: SqliteValue<'_>) -> Option<Self> {
        let text = <&str>::from_sqlite(value)?;
        calendar_date::parse(text).or_else(|| text.parse().ok())
    }
}

impl<'a, T: ColumnValue<'a>> ColumnValue<'a> for Option<T> {
    fn from_driver(row: &'a QueryResult, index: usize) -> Result<Self, TryGetError> {
        match T::from_driver(row, index) {
            Err(TryGetError::Null(_)) => Ok(None),
            value => value.map(Some),
        }
    }

    fn from_sqlite(value: SqliteValue<'a>) -> Option<Self> {
        match value {
            SqliteValue::Null => Some(None),
            value => T::from_sqlite(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbBackend, Statement};

    /// Returns the same row in both forms: as a row of sea-orm, and as a row that `row_readers` copies.
    async fn both(expressions: &str, values: &[SqliteValue<'_>]) -> [Rows; 2] {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let database = Database::connect(options).await.unwrap();
        let select = Statement::from_string(DbBackend::Sqlite, format!("SELECT {expressions}"));
        let driver = database.query_all_raw(select).await.unwrap();
        let mut copied = SqliteRows::new(values.len());
        for value in values {
            copied.push(*value);
        }
        [driver.into(), copied.into()]
    }

    #[tokio::test]
    async fn rows_of_the_driver_and_of_the_row_readers_return_the_same_values() {
        let id = Uuid::from_u128(7);
        let expressions = format!("5, 'Évora', '2026-11-30', NULL, x'{}', ''", id.simple());
        let values = [
            SqliteValue::Integer(5),
            SqliteValue::Text("Évora".as_bytes()),
            SqliteValue::Text(b"2026-11-30"),
            SqliteValue::Null,
            SqliteValue::Blob(id.as_bytes()),
            SqliteValue::Text(b""),
        ];
        for rows in both(&expressions, &values).await {
            assert_eq!((rows.len(), rows.iter().count()), (1, 1));
            let row = rows.get(0).unwrap();
            assert_eq!(row.get::<i64>(0).unwrap(), 5);
            assert_eq!(row.get::<Option<String>>(1).unwrap().as_deref(), Some("Évora"));
            assert_eq!(row.get::<&str>(1).unwrap(), "Évora");
            assert_eq!(row.get::<Option<&str>>(3).unwrap(), None);
            assert_eq!(row.get::<Option<NaiveDate>>(2).unwrap(), NaiveDate::from_ymd_opt(2026, 11, 30));
            assert_eq!(row.get::<Option<NaiveDate>>(3).unwrap(), None);
            assert_eq!(row.get::<Option<i64>>(3).unwrap(), None);
            assert_eq!(row.get::<Uuid>(4).unwrap(), id);
            assert_eq!(row.get::<String>(5).unwrap(), "");
            assert!(rows.get(1).is_none());
        }
    }

    #[tokio::test]
    async fn reading_a_missing_column_or_null_or_a_wrong_type_is_an_error_in_both_kinds_of_rows() {
        let values = [SqliteValue::Null, SqliteValue::Text(b"x")];
        for rows in both("NULL, 'x'", &values).await {
            let row = rows.get(0).unwrap();
            assert!(row.get::<i64>(0).is_err());
            assert!(row.get::<String>(0).is_err());
            assert!(row.get::<&str>(0).is_err());
            assert!(row.get::<i64>(1).is_err());
            assert!(row.get::<Option<NaiveDate>>(1).is_err());
            assert!(row.get::<Uuid>(1).is_err());
            assert!(row.get::<Option<i64>>(2).is_err());
        }
    }
}

//! A read-only connection to SQLite on the thread that uses it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, Statement, Value, sqlx};

use super::super::connection_options::{CONNECT_TIMEOUT, slow_statement};
use super::super::rows::{SqliteRows, SqliteValue};
use super::super::statement_deadline::{CHECK_EVERY, StatementDeadline};

/// The maximum number of prepared statements that a connection caches.
const STATEMENT_CACHE: usize = 32;

/// The file of a database.
#[derive(Clone, Debug)]
pub(in crate::db) struct DatabaseFile {
    pub(in crate::db) path: PathBuf,
    /// Whether no process changes the file. SQLite then needs no space to open it.
    pub(in crate::db) is_immutable: bool,
}

/// An open connection.
pub(super) struct Reader {
    connection: Connection,
    deadline: Arc<StatementDeadline>,
    /// The duration from which a statement is logged as slow.
    pub(super) slow: Duration,
}

impl Reader {
    /// Opens the file with the same options as the driver's read-only connections.
    ///
    /// # Errors
    ///
    /// [`DbErr::Conn`].
    pub(super) fn open(file: &DatabaseFile) -> Result<Self, DbErr> {
        Self::connect(file).map_err(|error| DbErr::Conn(driver_error(&error)))
    }

    fn connect(file: &DatabaseFile) -> rusqlite::Result<Self> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(name(&file.path, file.is_immutable), flags)?;
        connection.busy_timeout(CONNECT_TIMEOUT)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
        let deadline = Arc::new(StatementDeadline::never());
        let running = Arc::clone(&deadline);
        connection.progress_handler(CHECK_EVERY, Some(move || running.has_passed()))?;
        Ok(Self { connection, deadline, slow: slow_statement() })
    }

    /// Returns the rows of a statement. SQLite interrupts the statement after `limit`.
    ///
    /// # Errors
    ///
    /// [`DbErr::Query`].
    pub(super) fn query(&self, statement: &Statement, limit: Duration) -> Result<SqliteRows, DbErr> {
        let started = Instant::now();
        self.deadline.set(limit);
        let rows = self.rows(statement);
        let elapsed = started.elapsed();
        if elapsed >= self.slow {
            log_slow(&statement.sql, rows.as_ref().map_or(0, SqliteRows::len), elapsed, self.slow);
        }
        rows.map_err(|error| DbErr::Query(driver_error(&error)))
    }

    fn rows(&self, statement: &Statement) -> rusqlite::Result<SqliteRows> {
        let mut prepared = self.connection.prepare_cached(&statement.sql)?;
        let values = statement.values.iter().flat_map(|values| &values.0);
        for (index, value) in values.enumerate() {
            prepared.raw_bind_parameter(index + 1, Bound(value))?;
        }
        let columns = prepared.column_count();
        let (mut rows, mut found) = (prepared.raw_query(), SqliteRows::new(columns));
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                found.push(match row.get_ref(column)? {
                    ValueRef::Null => SqliteValue::Null,
                    ValueRef::Integer(number) => SqliteValue::Integer(number),
                    ValueRef::Real(_) => SqliteValue::Real,
                    ValueRef::Text(bytes) => SqliteValue::Text(bytes),
                    ValueRef::Blob(bytes) => SqliteValue::Blob(bytes),
                });
            }
        }
        Ok(found)
    }
}

/// Returns the name by which SQLite opens the file.
fn name(path: &Path, is_immutable: bool) -> PathBuf {
    if !is_immutable {
        return path.to_owned();
    }
    let path = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
    format!("file:{path}?immutable=true").into()
}

/// A value that is bound to a statement, in the same form in which the driver binds it.
struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let bound = match self.0 {
            Value::Bool(value) => value.map(|value| ValueRef::Integer(value.into())),
            Value::Int(number) => number.map(|number| ValueRef::Integer(number.into())),
            Value::BigInt(number) => number.map(ValueRef::Integer),
            Value::BigUnsigned(number) => {
                let too_large = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
                number.map(i64::try_from).transpose().map_err(too_large)?.map(ValueRef::Integer)
            }
            Value::String(text) => text.as_deref().map(|text| ValueRef::Text(text.as_bytes())),
            Value::Bytes(bytes) => bytes.as_deref().map(ValueRef::Blob),
            Value::Uuid(id) => id.as_ref().map(|id| ValueRef::Blob(id.as_bytes())),
            // The error does not contain the value, because errors are logged and values must not be.
            _ => {
                return Err(rusqlite::Error::ToSqlConversionFailure(
                    "a bound value has an unknown type".into(),
                ));
            }
        };
        Ok(ToSqlOutput::Borrowed(bound.unwrap_or(ValueRef::Null)))
    }
}

/// An error of SQLite, in the form in which the driver reports it.
#[derive(Debug)]
struct SqliteError {
    /// The extended result code.
    code: i32,
    message: String,
}

impl fmt::Display for SqliteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl Error for SqliteError {}

impl DatabaseError for SqliteError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        // The statements only read, so they violate no constraint.
        ErrorKind::Other
    }
}

fn driver_error(error: &rusqlite::Error) -> RuntimeErr {
    match error.sqlite_error() {
        Some(failure) => {
            let error = SqliteError { code: failure.extended_code, message: error.to_string() };
            RuntimeErr::SqlxError(Arc::new(sqlx::Error::Database(Box::new(error))))
        }
        None => RuntimeErr::Internal(error.to_string()),
    }
}

/// Logs a slow statement as the driver does, without the bound values.
fn log_slow(sql: &str, rows_returned: usize, elapsed: Duration, threshold: Duration) {
    let words: Vec<&str> = sql.split_whitespace().take(4).collect();
    tracing::warn!(
        target: "sqlx::query",
        summary = format!("{} …", words.join(" ")),
        db.statement = format!("\n\n{sql}\n"),
        rows_affected = 0,
        rows_returned,
        ?elapsed,
        elapsed_secs = elapsed.as_secs_f64(),
        slow_threshold = ?threshold,
        "slow statement: execution time exceeded alert threshold"
    );
}

//! Reads tables in the order of their keys, with a checksum.
//!
//! A separate task reads and decodes rows while the caller writes earlier rows.

use std::fmt::Write;
use std::{mem, vec};

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, AssertSqlSafe};
use sea_orm::{DatabaseConnection, DbBackend, DbErr, QueryResult, RuntimeErr};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::CopyError;
use super::catalog::{Table, quoted};
use super::values::{Cell, Kind, Row};

/// The maximum number of rows and of bytes in a chunk. The task that reads a table sends the rows in chunks.
const CHUNK_ROWS: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;
/// The maximum number of chunks that wait for the caller.
const QUEUE: usize = 4;

/// A connection that reads tables.
#[derive(Debug)]
pub(super) struct Reader(Connection);

#[derive(Debug)]
enum Connection {
    MySql(PoolConnection<sqlx::MySql>),
    Postgres(PoolConnection<sqlx::Postgres>),
    Sqlite(PoolConnection<sqlx::Sqlite>),
}

/// The number of rows of a table, and their checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) rows: u64,
    /// The SHA-256 in hexadecimal.
    pub(super) sha256: String,
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

impl Reader {
    /// Takes a connection from the pool.
    pub(super) async fn open(pool: &DatabaseConnection) -> Result<Self, DbErr> {
        Ok(Self(match pool.get_database_backend() {
            DbBackend::Postgres => {
                Connection::Postgres(pool.get_postgres_connection_pool().acquire().await.map_err(failed)?)
            }
            DbBackend::Sqlite => {
                Connection::Sqlite(pool.get_sqlite_connection_pool().acquire().await.map_err(failed)?)
            }
            _ => Connection::MySql(pool.get_mysql_connection_pool().acquire().await.map_err(failed)?),
        }))
    }

    /// Begins a transaction that reads one state of the whole database and blocks no writer.
    pub(super) async fn begin_snapshot(&mut self) -> Result<(), DbErr> {
        let statements: &[&'static str] = match &self.0 {
            Connection::Sqlite(_) => &["BEGIN"],
            Connection::Postgres(_) => &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
            Connection::MySql(_) => &[
                "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ],
        };
        for &statement in statements {
            let run = sqlx::raw_sql(statement);
            match &mut self.0 {
                Connection::MySql(connection) => run.execute(&mut **connection).await.map(drop),
                Connection::Postgres(connection) => run.execute(&mut **connection).await.map(drop),
                Connection::Sqlite(connection) => run.execute(&mut **connection).await.map(drop),
            }
            .map_err(failed)?;
        }
        Ok(())
    }

    fn stream(&mut self, sql: String) -> BoxStream<'_, Result<QueryResult, DbErr>> {
        let query = AssertSqlSafe(sql);
        match &mut self.0 {
            Connection::MySql(connection) => sqlx::query(query)
                .fetch(&mut **connection)
                .map(|row| row.map(QueryResult::from).map_err(failed))
                .boxed(),
            Connection::Postgres(connection) => sqlx::query(query)
                .fetch(&mut **connection)
                .map(|row| row.map(QueryResult::from).map_err(failed))
                .boxed(),
            Connection::Sqlite(connection) => sqlx::query(query)
                .fetch(&mut **connection)
                .map(|row| row.map(QueryResult::from).map_err(failed))
                .boxed(),
        }
    }

    /// Returns the number of rows of a table.
    pub(super) async fn count(&mut self, table: &str) -> Result<u64, DbErr> {
        let backend = self.backend();
        let sql = format!("SELECT COUNT(*) FROM {}", quoted(backend, table));
        let Some(row) = self.stream(sql).next().await else { return Ok(0) };
        Ok(u64::try_from(row?.try_get_by_index::<i64>(0)?).unwrap_or(0))
    }

    fn backend(&self) -> DbBackend {
        match &self.0 {
            Connection::MySql(_) => DbBackend::MySql,
            Connection::Postgres(_) => DbBackend::Postgres,
            Connection::Sqlite(_) => DbBackend::Sqlite,
        }
    }
}

/// Returns the query for all rows, ordered by the bytes of the key on every database.
fn select(backend: DbBackend, table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(backend, &column.name)).collect();
    let is_text =
        |key: &String| table.columns.iter().any(|column| column.name == *key && column.kind == Kind::Text);
    let collated = |key: &String| match backend {
        DbBackend::Postgres if is_text(key) => format!("{} COLLATE \"C\"", quoted(backend, key)),
        _ => quoted(backend, key),
    };
    let order: Vec<String> = table.key.iter().map(collated).collect();
    let (columns, name) = (columns.join(", "), quoted(backend, &table.name));
    format!("SELECT {columns} FROM {name} ORDER BY {}", order.join(", "))
}

/// The rows of a table in the order of its key.
#[derive(Debug)]
pub(super) struct Scan {
    chunks: mpsc::Receiver<Result<Vec<Row>, DbErr>>,
    rows: vec::IntoIter<Row>,
    task: JoinHandle<Option<(Reader, Summary)>>,
}

impl Scan {
    /// Starts the task that reads a table.
    pub(super) fn start(reader: Reader, table: &Table) -> Self {
        let (sender, chunks) = mpsc::channel(QUEUE);
        let sql = select(reader.backend(), table);
        let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
        let task = tokio::spawn(async move {
            match read(reader, sql, kinds, &sender).await {
                Ok(done) => Some(done),
                Err(error) => {
                    // Sending fails only if the caller needs no more rows.
                    drop(sender.send(Err(error)).await);
                    None
                }
            }
        });
        Self { chunks, rows: Vec::new().into_iter(), task }
    }

    /// Returns the next row, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, CopyError> {
        loop {
            if let Some(row) = self.rows.next() {
                return Ok(Some(row));
            }
            let Some(chunk) = self.chunks.recv().await else { return Ok(None) };
            self.rows = chunk?.into_iter();
        }
    }

    /// Returns the connection and the summary of the rows, after the last row was read.
    pub(super) async fn finish(self) -> Result<(Reader, Summary), CopyError> {
        drop(self.chunks);
        let finished = self.task.await.ok().flatten();
        Ok(finished.ok_or_else(|| DbErr::Custom("a query was interrupted".to_owned()))?)
    }
}

async fn read(
    mut reader: Reader,
    sql: String,
    kinds: Vec<Kind>,
    chunks: &mpsc::Sender<Result<Vec<Row>, DbErr>>,
) -> Result<(Reader, Summary), DbErr> {
    let mut hash = Context::new(&SHA256);
    let (mut rows, mut bytes, mut chunk) = (0, 0, Vec::new());
    let mut stream = reader.stream(sql);
    while let Some(row) = stream.next().await {
        let row = row?;
        let read = kinds.iter().enumerate().map(|(index, kind)| Cell::read(&row, index, *kind));
        let cells = read.collect::<Result<Row, DbErr>>()?;
        for cell in &cells {
            cell.hash(&mut hash);
            bytes += cell.size();
        }
        rows += 1;
        chunk.push(cells);
        if chunk.len() >= CHUNK_ROWS || bytes >= CHUNK_BYTES {
            bytes = 0;
            if chunks.send(Ok(mem::take(&mut chunk))).await.is_err() {
                break;
            }
        }
    }
    drop(stream);
    // Sending fails only if the caller needs no more rows.
    drop(chunks.send(Ok(chunk)).await);
    let mut sha256 = String::new();
    for byte in hash.finish().as_ref() {
        // Writing to a string does not fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    Ok((reader, Summary { rows, sha256 }))
}

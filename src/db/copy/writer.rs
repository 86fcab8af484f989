//! Writes rows in batches, and commits several batches in one transaction.

use std::mem;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, TransactionTrait, Value,
};

use super::CopyError;
use super::catalog::{Table, quoted};
use super::values::{Cell, Row};

/// The maximum number of rows, of values and of bytes of one INSERT. SQLite accepts 32,766 values.
const STATEMENT_ROWS: usize = 500;
const STATEMENT_VALUES: usize = 30_000;
const STATEMENT_BYTES: usize = 1 << 20;
/// Number of INSERT and DELETE statements in one transaction.
const STATEMENTS: u32 = 10;

/// Changes the tables of the target.
#[derive(Debug)]
pub(super) struct Writer {
    connection: DatabaseConnection,
    backend: DbBackend,
    transaction: Option<DatabaseTransaction>,
    statements: u32,
    rows: Vec<Row>,
    bytes: usize,
}

impl Writer {
    pub(super) fn new(connection: DatabaseConnection) -> Self {
        let backend = connection.get_database_backend();
        Self { connection, backend, transaction: None, statements: 0, rows: Vec::new(), bytes: 0 }
    }

    /// Adds a row to the current batch. Inserts the batch when it is full; [`Writer::finish`] inserts the
    /// last batch.
    pub(super) async fn insert(&mut self, table: &Table, row: Row) -> Result<(), CopyError> {
        self.bytes += row.iter().map(Cell::size).sum::<usize>();
        self.rows.push(row);
        let max = STATEMENT_ROWS.min(STATEMENT_VALUES / table.columns.len());
        if self.rows.len() >= max || self.bytes >= STATEMENT_BYTES {
            self.flush(table).await?;
        }
        Ok(())
    }

    /// Deletes the row that has the key of `row`, and the rows that refer to it.
    pub(super) async fn delete(&mut self, table: &Table, row: Row) -> Result<(), CopyError> {
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        for (column, cell) in table.columns.iter().zip(row) {
            if table.key.contains(&column.name) {
                values.push(bound(table, &column.name, cell.bind(column.kind))?);
                let placeholder = placeholder(self.backend, values.len());
                conditions.push(format!("{} = {placeholder}", quoted(self.backend, &column.name)));
            }
        }
        let name = quoted(self.backend, &table.name);
        self.execute(format!("DELETE FROM {name} WHERE {}", conditions.join(" AND ")), values).await
    }

    async fn flush(&mut self, table: &Table) -> Result<(), CopyError> {
        self.bytes = 0;
        let rows = mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let columns: Vec<String> =
            table.columns.iter().map(|column| quoted(self.backend, &column.name)).collect();
        let mut sql =
            format!("INSERT INTO {} ({}) VALUES ", quoted(self.backend, &table.name), columns.join(", "));
        let mut values = Vec::with_capacity(rows.len() * columns.len());
        for row in rows {
            sql.push_str(if values.is_empty() { "(" } else { ", (" });
            for (index, (column, cell)) in table.columns.iter().zip(row).enumerate() {
                values.push(bound(table, &column.name, cell.bind(column.kind))?);
                if index > 0 {
                    sql.push_str(", ");
                }
                sql.push_str(&placeholder(self.backend, values.len()));
            }
            sql.push(')');
        }
        self.execute(sql, values).await
    }

    async fn execute(&mut self, sql: String, values: Vec<Value>) -> Result<(), CopyError> {
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => self.connection.begin().await?,
        };
        transaction.execute_raw(Statement::from_sql_and_values(self.backend, sql, values)).await?;
        self.statements += 1;
        if self.statements < STATEMENTS {
            self.transaction = Some(transaction);
            return Ok(());
        }
        self.statements = 0;
        Ok(transaction.commit().await?)
    }

    /// Inserts the last batch of a table, and commits.
    pub(super) async fn finish(&mut self, table: &Table) -> Result<(), CopyError> {
        self.flush(table).await?;
        self.statements = 0;
        match self.transaction.take() {
            Some(transaction) => Ok(transaction.commit().await?),
            None => Ok(()),
        }
    }

    /// Deletes all rows of a table.
    pub(super) async fn clear(&mut self, table: &str) -> Result<(), CopyError> {
        self.connection.execute_unprepared(&format!("DELETE FROM {}", quoted(self.backend, table))).await?;
        Ok(())
    }

    /// Sets the sequences of PostgreSQL to continue after the highest copied number, and collects statistics.
    /// The other databases continue their sequences by themselves.
    pub(super) async fn complete(&self, tables: &[Table]) -> Result<(), CopyError> {
        if self.backend != DbBackend::Postgres {
            return Ok(());
        }
        for table in tables {
            let name = quoted(self.backend, &table.name);
            for key in &table.key {
                let column = quoted(self.backend, key);
                let sql = format!(
                    "SELECT setval(s, GREATEST((SELECT MAX({column}) FROM {name}), 1), \
                     EXISTS (SELECT 1 FROM {name})) \
                     FROM pg_get_serial_sequence('{name}', '{key}') AS s"
                );
                if is_serial(&self.connection, &name, key).await? {
                    self.connection.execute_unprepared(&sql).await?;
                }
            }
        }
        self.connection.execute_unprepared("ANALYZE").await?;
        Ok(())
    }
}

async fn is_serial(connection: &DatabaseConnection, table: &str, column: &str) -> Result<bool, CopyError> {
    let sql = format!("SELECT pg_get_serial_sequence('{table}', '{column}') IS NOT NULL");
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(false))
}

fn placeholder(backend: DbBackend, number: usize) -> String {
    if backend == DbBackend::Postgres { format!("${number}") } else { "?".to_owned() }
}

fn bound(table: &Table, column: &str, value: Option<Value>) -> Result<Value, CopyError> {
    value.ok_or_else(|| {
        CopyError::Schema(format!("a value of {}.{column} does not fit into the target", table.name))
    })
}

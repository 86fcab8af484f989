//! Reads all rows of every table. The catalog of the database lists the tables, so a new table can't be forgotten.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::{TestApp, rows};

/// A value of a table, as bytes: a text in UTF-8, an id as 16 bytes, a number in digits.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) table: String,
    pub(crate) column: String,
    pub(crate) bytes: Vec<u8>,
}

impl Cell {
    /// Returns whether the value contains these bytes, without regard to the case of ASCII letters.
    pub(crate) fn contains(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
    }
}

/// Returns every column of every table.
pub(crate) async fn columns(app: &TestApp) -> Vec<(String, String)> {
    let connection = rows::open(app).await;
    let columns = list_columns(&connection).await;
    connection.close().await.unwrap();
    columns.into_iter().map(|(table, column, _)| (table, column)).collect()
}

/// Returns every value of every table.
pub(crate) async fn cells(app: &TestApp) -> Vec<Cell> {
    let connection = rows::open(app).await;
    let backend = connection.get_database_backend();
    let mut cells = Vec::new();
    for (table, column, kind) in list_columns(&connection).await {
        let quote = if backend == DbBackend::MySql { '`' } else { '"' };
        let value = match (backend, kind.as_str()) {
            (DbBackend::Postgres, "bytea") => format!("encode({quote}{column}{quote}, 'hex')"),
            (DbBackend::Postgres, "uuid") => format!("replace({quote}{column}{quote}::text, '-', '')"),
            (DbBackend::Postgres, _) => {
                format!("encode(convert_to({quote}{column}{quote}::text, 'UTF8'), 'hex')")
            }
            // Convert numbers to text first, because in MySQL, HEX of a number returns the number in base 16.
            (_, "bigint" | "int" | "tinyint" | "date" | "timestamp" | "datetime") => {
                format!("HEX(CAST({quote}{column}{quote} AS CHAR))")
            }
            _ => format!("HEX({quote}{column}{quote})"),
        };
        let sql = format!("SELECT {value} FROM {quote}{table}{quote}");
        for row in connection.query_all_raw(Statement::from_string(backend, sql)).await.unwrap() {
            if let Some(hex) = row.try_get_by_index::<Option<String>>(0).unwrap() {
                cells.push(Cell { table: table.clone(), column: column.clone(), bytes: from_hex(&hex) });
            }
        }
    }
    connection.close().await.unwrap();
    cells
}

/// Returns the table, the name and the type of every column.
async fn list_columns(connection: &DatabaseConnection) -> Vec<(String, String, String)> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT m.name, c.name, '' FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        }
        DbBackend::Postgres => {
            "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = current_schema()"
        }
        _ => {
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(data_type AS CHAR) \
             FROM information_schema.columns WHERE table_schema = DATABASE()"
        }
    };
    let rows = connection.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    let text = |row: &sea_orm::QueryResult, at: usize| row.try_get_by_index::<String>(at).unwrap();
    let columns: Vec<_> = rows.iter().map(|row| (text(row, 0), text(row, 1), text(row, 2))).collect();
    assert!(columns.iter().any(|(table, column, _)| table == "users" && column == "email"), "{columns:?}");
    columns
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

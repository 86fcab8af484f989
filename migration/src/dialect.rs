//! The SQL fragments that differ between the databases.
//!
//! A step is SQL with `{placeholders}`. Keys are part of `CREATE TABLE`, because this is the only statement
//! for which all databases accept `IF NOT EXISTS`. A step can therefore be repeated even on MySQL, where DDL
//! is not transactional.

use sea_orm_migration::prelude::{DbErr, SchemaManager};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// Each entry contains a placeholder and its text for SQLite, for PostgreSQL, and for MySQL and MariaDB.
///
/// Instants are whole milliseconds since 1970 in UTC, because integers compare in the same way on all
/// databases. With the binary collation, MySQL compares text in the same way as the other databases.
const WORDS: &[(&str, &str, &str, &str)] = &[
    ("{uuid}", "BLOB", "UUID", "BINARY(16)"),
    ("{int}", "INTEGER", "BIGINT", "BIGINT"),
    ("{bool}", "INTEGER", "BOOLEAN", "BOOLEAN"),
    ("{bytes}", "BLOB", "BYTEA", "VARBINARY(8192)"),
    // A SHA-256 digest.
    ("{digest}", "BLOB", "BYTEA", "BINARY(32)"),
    // A Bloom filter of at most 896 bytes, and its default: the filter that contains every value.
    ("{signature}", "BLOB", "BYTEA", "VARBINARY(896)"),
    ("{default_ff}", "DEFAULT x'ff'", "DEFAULT '\\xff'", "DEFAULT x'ff'"),
    ("{largebytes}", "BLOB", "BYTEA", "MEDIUMBLOB"),
    ("{date}", "TEXT", "DATE", "DATE"),
    ("{text}", "TEXT", "TEXT", "TEXT"),
    ("{text32}", "TEXT", "VARCHAR(32)", "VARCHAR(32)"),
    ("{text64}", "TEXT", "VARCHAR(64)", "VARCHAR(64)"),
    ("{text100}", "TEXT", "VARCHAR(100)", "VARCHAR(100)"),
    ("{text200}", "TEXT", "VARCHAR(200)", "VARCHAR(200)"),
    ("{text254}", "TEXT", "VARCHAR(254)", "VARCHAR(254)"),
    ("{text512}", "TEXT", "VARCHAR(512)", "VARCHAR(512)"),
    // A text that can exceed the 64 KiB of MySQL's TEXT. MySQL requires that the default of such a column is
    // an expression. SQLite rejects an expression as the default of an added column.
    ("{long}", "TEXT", "TEXT", "MEDIUMTEXT"),
    ("{default_empty}", "DEFAULT ''", "DEFAULT ''", "DEFAULT ('')"),
    ("{default_list}", "DEFAULT '[]'", "DEFAULT '[]'", "DEFAULT ('[]')"),
    // The order of code points, which is the default on SQLite and MySQL.
    ("{binary}", "", "COLLATE \"C\"", ""),
    (
        "{days(start_date)}",
        "CAST(julianday(start_date) - 2440587.5 AS INTEGER)",
        "start_date - DATE '1970-01-01'",
        "DATEDIFF(start_date, '1970-01-01')",
    ),
    ("{length}", "length", "char_length", "char_length"),
    (
        "{serial}",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BIGSERIAL PRIMARY KEY",
        "BIGINT AUTO_INCREMENT PRIMARY KEY",
    ),
    // In MySQL, an index belongs to its table, so `DROP INDEX` must name the table.
    ("{on_security_events}", "", "", " ON security_events"),
    ("{on_sessions}", "", "", " ON sessions"),
    ("{on_tombstones}", "", "", " ON trip_tombstones"),
    ("{on_trips}", "", "", " ON trips"),
    ("{table}", "STRICT", "", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
    // A table clustered by its primary key. InnoDB clusters every table; SQLite needs `WITHOUT ROWID`.
    ("{clustered}", "STRICT, WITHOUT ROWID", "", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
];

/// Runs the statements in order, in the dialect of the connected database.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    for statement in statements {
        let mut sql = (*statement).to_owned();
        for (placeholder, sqlite, postgres, mysql) in WORDS {
            let word = match connection.get_database_backend() {
                DbBackend::Sqlite => sqlite,
                DbBackend::Postgres => postgres,
                _ => mysql,
            };
            sql = sql.replace(placeholder, word);
        }
        connection.execute_unprepared(&sql).await?;
    }
    Ok(())
}

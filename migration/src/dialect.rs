//! The SQL fragments that differ between the databases.
//!
//! A step is SQL with `{placeholders}`. Keys are part of `CREATE TABLE`, the only statement for which all
//! databases accept `IF NOT EXISTS`; this makes a step repeatable where DDL is not transactional (MySQL).

use sea_orm_migration::prelude::{DbErr, SchemaManager};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

/// Placeholder, SQLite, PostgreSQL, MySQL or MariaDB.
///
/// Instants are whole milliseconds since 1970 in UTC: they compare the same on all databases. The
/// binary collation makes MySQL compare text as the other two do.
const WORDS: &[(&str, &str, &str, &str)] = &[
    ("{uuid}", "BLOB", "UUID", "BINARY(16)"),
    ("{int}", "INTEGER", "BIGINT", "BIGINT"),
    ("{bool}", "INTEGER", "BOOLEAN", "BOOLEAN"),
    ("{bytes}", "BLOB", "BYTEA", "VARBINARY(8192)"),
    // A SHA-256.
    ("{digest}", "BLOB", "BYTEA", "BINARY(32)"),
    // A Bloom filter of at most 896 bytes, and its default, the one that contains everything.
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
    // More than the 64 KiB of MySQL's TEXT. MySQL requires an expression as the default of such a column;
    // SQLite rejects an expression when it adds a column.
    ("{long}", "TEXT", "TEXT", "MEDIUMTEXT"),
    ("{default_empty}", "DEFAULT ''", "DEFAULT ''", "DEFAULT ('')"),
    ("{default_list}", "DEFAULT '[]'", "DEFAULT '[]'", "DEFAULT ('[]')"),
    // Code point order, the default of the other two.
    ("{binary}", "", "COLLATE \"C\"", ""),
    (
        "{days(start_date)}",
        "CAST(julianday(start_date) - 2440587.5 AS INTEGER)",
        "start_date - DATE '1970-01-01'",
        "DATEDIFF(start_date, '1970-01-01')",
    ),
    ("{length}", "length", "char_length", "char_length"),
    // A table clustered by its primary key: always on InnoDB, on request on SQLite.
    (
        "{serial}",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BIGSERIAL PRIMARY KEY",
        "BIGINT AUTO_INCREMENT PRIMARY KEY",
    ),
    // MySQL's indexes belong to their table.
    ("{on_security_events}", "", "", " ON security_events"),
    ("{on_sessions}", "", "", " ON sessions"),
    ("{on_tombstones}", "", "", " ON trip_tombstones"),
    ("{on_trips}", "", "", " ON trips"),
    ("{table}", "STRICT", "", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
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

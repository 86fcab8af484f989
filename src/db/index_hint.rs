//! Index hints, for the few queries that need an index that the planner does not choose.

use sea_orm::{DbBackend, Statement};

/// Adds a hint that makes SQLite, MySQL and MariaDB search `table` through `index`, because their planners
/// ignore how long a list of values is. The query stays unchanged for `PostgreSQL`, which has no hints and
/// plans by its statistics.
#[must_use]
pub fn with_index(mut statement: Statement, table: &str, index: &str) -> Statement {
    let (from, hint) = match statement.db_backend {
        DbBackend::Sqlite => (format!("FROM \"{table}\""), format!("INDEXED BY {index}")),
        DbBackend::MySql => (format!("FROM `{table}`"), format!("FORCE INDEX ({index})")),
        _ => return statement,
    };
    statement.sql = statement.sql.replacen(&from, &format!("{from} {hint}"), 1);
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_hint_follows_the_name_of_the_table() {
        let hinted = |backend, sql: &str| with_index(Statement::from_string(backend, sql), "t", "i").sql;
        let sqlite = r#"SELECT "a", (SELECT "b" FROM "tt") FROM "t" WHERE "c" = 1"#;
        let expected = r#"SELECT "a", (SELECT "b" FROM "tt") FROM "t" INDEXED BY i WHERE "c" = 1"#;
        assert_eq!(hinted(DbBackend::Sqlite, sqlite), expected);
        assert_eq!(
            hinted(DbBackend::MySql, "SELECT a FROM `t` WHERE 1"),
            "SELECT a FROM `t` FORCE INDEX (i) WHERE 1"
        );
        assert_eq!(hinted(DbBackend::Postgres, sqlite), sqlite);
    }
}

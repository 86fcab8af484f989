//! Index hints, for the few queries that need an index that the planner does not choose.

use std::iter;

use sea_orm::{DbBackend, Statement};

/// Adds a hint that makes SQLite, MySQL and MariaDB search `table` through `index`. Without the hint, their
/// planners can choose a slower index, because they ignore how many values a list in the query has. The query
/// stays unchanged for PostgreSQL, which has no hints and plans by its statistics.
#[must_use]
pub fn with_index(statement: Statement, table: &str, index: &str) -> Statement {
    with_indexes(statement, table, &[index])
}

/// Adds hints like that of [`with_index`] to the first parts of a union: the first index to the first part,
/// the second index to the second part, and so on.
#[must_use]
pub fn with_indexes(mut statement: Statement, table: &str, indexes: &[&str]) -> Statement {
    let (quote, hint) = match statement.db_backend {
        DbBackend::Sqlite => ('"', ["INDEXED BY ", ""]),
        DbBackend::MySql => ('`', ["FORCE INDEX (", ")"]),
        _ => return statement,
    };
    let from = format!("FROM {quote}{table}{quote}");
    let mut parts = statement.sql.split(&from);
    let mut sql = parts.next().unwrap_or_default().to_owned();
    let hints = indexes.iter().map(|index| format!(" {}{index}{}", hint[0], hint[1]));
    for (part, hint) in parts.zip(hints.chain(iter::repeat(String::new()))) {
        sql.extend([from.as_str(), &hint, part]);
    }
    statement.sql = sql;
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

    #[test]
    fn each_index_hint_applies_to_one_part_of_an_sql_union_in_order() {
        let union = r#"SELECT a FROM "t" UNION ALL SELECT a FROM "t" WHERE 1 UNION ALL SELECT b FROM "t""#;
        let hinted = with_indexes(Statement::from_string(DbBackend::Sqlite, union), "t", &["i", "j"]).sql;
        let expected = r#"SELECT a FROM "t" INDEXED BY i UNION ALL SELECT a FROM "t" INDEXED BY j WHERE 1 UNION ALL SELECT b FROM "t""#;
        assert_eq!(hinted, expected);
    }
}

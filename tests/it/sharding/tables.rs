//! The tables of the database, and the columns that their primary keys begin with.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::harness::{TestApp, rows};

/// Returns each table with the first column of its primary key, from the catalog of the database. Leaves out
/// the tables that only migrations use.
pub(super) async fn first_key_columns(app: &TestApp) -> BTreeMap<String, String> {
    let connection = rows::open(app).await;
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND c.pk = 1"
        }
        DbBackend::Postgres => {
            "SELECT c.table_name::text, k.column_name::text FROM information_schema.table_constraints c \
             JOIN information_schema.key_column_usage k USING (constraint_schema, constraint_name) \
             WHERE c.constraint_type = 'PRIMARY KEY' AND k.ordinal_position = 1 \
             AND c.constraint_schema = current_schema()"
        }
        _ => {
            "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR) FROM information_schema.key_column_usage \
             WHERE constraint_name = 'PRIMARY' AND ordinal_position = 1 AND table_schema = DATABASE()"
        }
    };
    let found = connection.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    connection.close().await.unwrap();
    let text = |row: &sea_orm::QueryResult, at: usize| row.try_get_by_index::<String>(at).unwrap();
    let mut keys: BTreeMap<String, String> = found.iter().map(|row| (text(row, 0), text(row, 1))).collect();
    keys.retain(|table, _| !["seaql_migrations", "tripgate_bootstrap"].contains(&table.as_str()));
    keys
}

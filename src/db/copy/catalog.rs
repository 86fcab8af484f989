//! Reads the tables of a database from its catalog. A table that a later migration adds is therefore copied
//! without a change of this module.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use super::CopyError;
use super::values::Kind;

/// The tables that are not copied: the applied migrations, the lock of migrations, the mark of a copy, and the
/// running servers.
pub(super) const OWN_TABLES: [&str; 4] =
    ["seaql_migrations", "tripgate_bootstrap", "tripgate_copy", "replicas"];

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key.
    pub(super) key: Vec<String>,
    /// The other tables that the foreign keys of this table refer to.
    pub(super) parents: BTreeSet<String>,
}

/// Quotes the name of a table or a column.
pub(super) fn quoted(backend: DbBackend, name: &str) -> String {
    if backend == DbBackend::MySql { format!("`{name}`") } else { format!("\"{name}\"") }
}

/// The queries of the catalog: the columns (table, column, type), the primary keys (table, column), and the foreign
/// keys (table, other table).
fn queries(backend: DbBackend) -> [&'static str; 3] {
    match backend {
        DbBackend::Sqlite => [
            "SELECT t.name, c.name, c.type FROM sqlite_schema t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid",
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c \
             WHERE t.type = 'table' AND c.pk > 0 ORDER BY t.name, c.pk",
            "SELECT t.name, f.\"table\" FROM sqlite_schema t, pragma_foreign_key_list(t.name) f \
             WHERE t.type = 'table'",
        ],
        DbBackend::Postgres => [
            "SELECT c.table_name::text, c.column_name::text, c.data_type::text FROM information_schema.columns c \
             JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
             WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
             ORDER BY c.table_name, c.ordinal_position",
            "SELECT k.table_name::text, k.column_name::text FROM information_schema.key_column_usage k \
             JOIN information_schema.table_constraints c ON c.constraint_schema = k.constraint_schema \
             AND c.constraint_name = k.constraint_name AND c.table_name = k.table_name \
             WHERE c.constraint_type = 'PRIMARY KEY' AND c.table_schema = current_schema() \
             ORDER BY k.table_name, k.ordinal_position",
            "SELECT child.relname::text, parent.relname::text FROM pg_constraint f \
             JOIN pg_class child ON child.oid = f.conrelid JOIN pg_class parent ON parent.oid = f.confrelid \
             JOIN pg_namespace n ON n.oid = child.relnamespace \
             WHERE f.contype = 'f' AND n.nspname = current_schema()",
        ],
        _ => [
            "SELECT c.table_name, c.column_name, CAST(c.column_type AS CHAR) FROM information_schema.columns c \
             JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
             WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE' \
             ORDER BY c.table_name, c.ordinal_position",
            "SELECT table_name, column_name FROM information_schema.key_column_usage \
             WHERE table_schema = DATABASE() AND constraint_name = 'PRIMARY' \
             ORDER BY table_name, ordinal_position",
            "SELECT table_name, referenced_table_name FROM information_schema.referential_constraints \
             WHERE constraint_schema = DATABASE()",
        ],
    }
}

/// Returns the tables that a copy contains. Each table comes after the tables that its foreign keys refer to.
pub(super) async fn read(connection: &DatabaseConnection) -> Result<Vec<Table>, CopyError> {
    let [columns, keys, references] = queries(connection.get_database_backend());
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for [name, column, type_name] in texts(connection, columns).await? {
        if OWN_TABLES.contains(&name.as_str()) {
            continue;
        }
        let kind = Kind::from_type(&type_name).ok_or_else(|| {
            CopyError::Schema(format!("the column {name}.{column} has the unknown type {type_name}"))
        })?;
        let new = || Table { name: name.clone(), columns: vec![], key: vec![], parents: BTreeSet::new() };
        tables.entry(name.clone()).or_insert_with(new).columns.push(Column { name: column, kind });
    }
    for [name, column] in texts(connection, keys).await? {
        tables.entry(name).and_modify(|table| table.key.push(column));
    }
    for [name, parent] in texts(connection, references).await? {
        if parent != name {
            tables.entry(name).and_modify(|table| table.parents.extend([parent]));
        }
    }
    in_order(tables)
}

/// Returns the names of all tables, including those that are not copied.
pub(super) async fn names(connection: &impl ConnectionTrait) -> Result<BTreeSet<String>, DbErr> {
    let [columns, _, _] = queries(connection.get_database_backend());
    let rows: Vec<[String; 3]> = texts(connection, columns).await?;
    Ok(rows.into_iter().map(|[name, _, _]| name).collect())
}

async fn texts<const N: usize>(
    connection: &impl ConnectionTrait,
    sql: &str,
) -> Result<Vec<[String; N]>, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let mut found = Vec::new();
    for row in connection.query_all_raw(statement).await? {
        let mut texts = [const { String::new() }; N];
        for (index, text) in texts.iter_mut().enumerate() {
            *text = row.try_get_by_index(index)?;
        }
        found.push(texts);
    }
    Ok(found)
}

/// Sorts tables so that each table comes after the tables that its foreign keys refer to.
fn in_order(mut tables: BTreeMap<String, Table>) -> Result<Vec<Table>, CopyError> {
    let mut ordered: Vec<Table> = Vec::new();
    while !tables.is_empty() {
        let is_ready = |table: &Table| !table.parents.iter().any(|parent| tables.contains_key(parent));
        let Some(name) = tables.values().find(|table| is_ready(table)).map(|table| table.name.clone()) else {
            let names: Vec<&str> = tables.keys().map(String::as_str).collect();
            return Err(CopyError::Schema(format!("the foreign keys of {} form a cycle", names.join(", "))));
        };
        let Some(table) = tables.remove(&name) else { break };
        if table.key.is_empty() {
            return Err(CopyError::Schema(format!("the table {name} has no primary key")));
        }
        ordered.push(table);
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, parents: &[&str]) -> (String, Table) {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        let key = vec!["id".to_owned()];
        (name.to_owned(), Table { name: name.to_owned(), columns: Vec::new(), key, parents })
    }

    #[test]
    fn tables_follow_the_tables_that_they_reference_and_a_circular_reference_is_an_error() {
        let tables = [table("a", &["c"]), table("b", &["a", "c"]), table("c", &[])];
        let ordered = in_order(tables.into_iter().collect()).unwrap();
        let names: Vec<String> = ordered.into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["c", "a", "b"]);
        let circle = [table("a", &["b"]), table("b", &["a"])];
        assert!(in_order(circle.into_iter().collect()).is_err());
    }
}

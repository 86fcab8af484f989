//! Adds a column for the session of a flow, and a column for the known device of a login that waits for the second
//! factor.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
const COLUMNS: [(&str, &str); 2] = [("flows", "session_id"), ("pending_logins", "device_id")];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            if !manager.has_column(table, column).await? {
                let statement = format!("ALTER TABLE {table} ADD COLUMN {column} {{uuid}}");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS.iter().rev() {
            if manager.has_column(table, column).await? {
                dialect::run(manager, &[&format!("ALTER TABLE {table} DROP COLUMN {column}")]).await?;
            }
        }
        Ok(())
    }
}

//! Adds the time of the last authentication to sessions.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "sessions";
/// 0 in the rows that were inserted before this step, until the user authenticates again.
const COLUMN: &str = "authenticated_at";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        let statement = format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} {{int}} NOT NULL DEFAULT 0");
        dialect::run(manager, &[&statement]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        dialect::run(manager, &[&format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")]).await
    }
}

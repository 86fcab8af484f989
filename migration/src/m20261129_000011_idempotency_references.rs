//! Adds the column `reference` to the idempotency keys. For a repeated request, the server builds the
//! response again from the reference, so it no longer stores the whole response.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLE: &str = "idempotency_keys";
/// NULL in the rows that were inserted before this step. These rows contain the whole response.
const COLUMN: &str = "reference";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        dialect::run(manager, &[&format!("ALTER TABLE {TABLE} ADD COLUMN {COLUMN} {{text512}}")]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        // The previous version of the server can't read rows that contain a reference.
        let delete = format!("DELETE FROM {TABLE} WHERE {COLUMN} IS NOT NULL");
        dialect::run(manager, &[&delete, &format!("ALTER TABLE {TABLE} DROP COLUMN {COLUMN}")]).await
    }
}

//! Adds the column that a transaction increments to lock a user on all nodes of a cluster.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The step adds the column only if it is missing, so that the step can be repeated.
        if !manager.has_column("users", "lock_count").await? {
            let add = "ALTER TABLE users ADD COLUMN lock_count {int} NOT NULL DEFAULT 0";
            dialect::run(manager, &[add]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("users", "lock_count").await? {
            dialect::run(manager, &["ALTER TABLE users DROP COLUMN lock_count"]).await?;
        }
        Ok(())
    }
}

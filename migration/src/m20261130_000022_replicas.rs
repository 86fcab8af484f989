//! Adds the table of the servers that use the database.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const REPLICAS: &str = "
CREATE TABLE IF NOT EXISTS replicas (
    id {uuid} NOT NULL PRIMARY KEY,
    version {text64} NOT NULL,
    host {text254} NOT NULL,
    address {text64} NOT NULL,
    secret_fingerprint {text64} NOT NULL,
    public_url {text} NOT NULL,
    schema_step {text100} NOT NULL,
    clock_offset {int} NOT NULL,
    started_at {int} NOT NULL,
    seen_at {int} NOT NULL
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[REPLICAS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS replicas"]).await
    }
}

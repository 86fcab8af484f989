//! Adds the table of the administrative commands that operators have run.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The rows remain when an account is deleted, so the subject is not a foreign key. Ids are UUIDv7s, so the
// primary key sorts the rows by time.
const OPERATOR_ACTIONS: &str = "
CREATE TABLE IF NOT EXISTS operator_actions (
    id {uuid} NOT NULL PRIMARY KEY,
    created_at {int} NOT NULL,
    operator {text100} NOT NULL,
    command {text64} NOT NULL,
    subject {text100}
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[OPERATOR_ACTIONS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS operator_actions"]).await
    }
}

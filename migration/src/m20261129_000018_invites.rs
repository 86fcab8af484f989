//! Adds the invitations that a sign-up requires on some servers.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INVITES: &str = "
CREATE TABLE IF NOT EXISTS invites (
    id {uuid} NOT NULL PRIMARY KEY,
    code_digest {digest} NOT NULL,
    uses {int} NOT NULL,
    used {int} NOT NULL,
    created_at {int} NOT NULL,
    expires_at {int},
    CONSTRAINT invites_code_digest UNIQUE (code_digest),
    CONSTRAINT invites_used CHECK (used BETWEEN 0 AND uses)
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[INVITES]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS invites"]).await
    }
}

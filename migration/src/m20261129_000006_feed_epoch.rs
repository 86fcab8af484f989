//! Adds the identity, the feed epoch and the generation of the database.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A table with one row. The server inserts the row, because the databases have no random function in common.
//
// `epoch` is random and is replaced after the database was restored from a backup. `version_floor` is the sum
// of the numbers that these replacements have added to the versions of trips. `generation` is incremented
// regularly while servers write. Of two copies of the database, the copy with the lower generation is older.
const FEED_EPOCH: &str = "
CREATE TABLE IF NOT EXISTS feed_epoch (
    id {int} NOT NULL PRIMARY KEY,
    database_id {uuid} NOT NULL,
    epoch {int} NOT NULL,
    version_floor {int} NOT NULL,
    generation {int} NOT NULL,
    began_at {int} NOT NULL,
    CONSTRAINT feed_epoch_one_row CHECK (id = 1),
    CONSTRAINT feed_epoch_version_floor CHECK (version_floor >= 0)
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[FEED_EPOCH]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS feed_epoch"]).await
    }
}

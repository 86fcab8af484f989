//! Adds the index by which a search on SQLite finds the trips with short texts.
//!
//! Without the index, a search reads all rows of a user, including the large rows of the trips with long
//! texts.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};
use search_index::Column;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEX: &str = "trips_short_texts";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_connection().get_database_backend();
        if backend != DbBackend::Sqlite || manager.has_index("trips", INDEX).await? {
            return Ok(());
        }
        let max = Column::Short.short_text_max();
        let statement = format!(
            "CREATE INDEX {INDEX} ON trips (owner_id, created_at, id) WHERE length(search_short) <= {max}"
        );
        dialect::run(manager, &[&statement]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("trips", INDEX).await? {
            dialect::run(manager, &[&format!("DROP INDEX {INDEX}")]).await?;
        }
        Ok(())
    }
}

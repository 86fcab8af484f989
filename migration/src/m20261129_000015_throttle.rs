//! Adds the counters of the throttle, which are called buckets.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// `id` is a keyed hash in a bounded range, so that made-up names can't fill the table. A row has no owner,
// because the throttle also counts names that no account has.
const BUCKETS: &str = "
CREATE TABLE IF NOT EXISTS throttle_buckets (
    id {int} NOT NULL PRIMARY KEY,
    kind {text32} NOT NULL,
    account {int} NOT NULL,
    address {text64} NOT NULL,
    forgotten_at {int} NOT NULL,
    blocked_until {int} NOT NULL,
    alerted_until {int} NOT NULL,
    expires_at {int} NOT NULL
) {clustered}";
/// This index is not unique, because PostgreSQL's `ON CONFLICT` handles concurrent inserts for only one
/// unique index.
const INDEX: &str = "throttle_buckets_expires_at";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[BUCKETS]).await?;
        if !manager.has_index("throttle_buckets", INDEX).await? {
            let index = format!("CREATE INDEX {INDEX} ON throttle_buckets (expires_at)");
            dialect::run(manager, &[&index]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS throttle_buckets"]).await
    }
}

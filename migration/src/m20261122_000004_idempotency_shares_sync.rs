//! Adds idempotency keys, share links of trips, and the operations of offline apps.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A request with an `Idempotency-Key`. The row is inserted before the request runs, and claims the key for
// it. `holder` is the id of this claim. The transaction that does the work of the request also saves the
// response. `status` is NULL while the request runs.
const IDEMPOTENCY_KEYS: &str = "
CREATE TABLE IF NOT EXISTS idempotency_keys (
    owner_id {uuid} NOT NULL,
    key_digest {digest} NOT NULL,
    request_digest {digest} NOT NULL,
    holder {uuid} NOT NULL,
    claimed_at {int} NOT NULL,
    expires_at {int} NOT NULL,
    status {int},
    location {text200},
    etag {text100},
    body {largebytes},
    PRIMARY KEY (owner_id, key_digest),
    CONSTRAINT idempotency_keys_expiry UNIQUE (expires_at, owner_id, key_digest),
    CONSTRAINT idempotency_keys_owner FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT idempotency_keys_whole CHECK ((status IS NULL) = (body IS NULL))
) {clustered}";

// A share link contains the random `id` and gives read access to the trip. The row of the link is deleted
// with the trip.
const TRIP_SHARES: &str = "
CREATE TABLE IF NOT EXISTS trip_shares (
    owner_id {uuid} NOT NULL,
    trip_id {uuid} NOT NULL,
    id {uuid} NOT NULL,
    created_at {int} NOT NULL,
    PRIMARY KEY (owner_id, trip_id),
    CONSTRAINT trip_shares_id UNIQUE (id),
    CONSTRAINT trip_shares_trip FOREIGN KEY (owner_id, trip_id) REFERENCES trips (owner_id, id) ON DELETE CASCADE
) {clustered}";

// Applied sync operations. They are recorded so that an operation that an app sends again is not applied
// again.
const SYNC_OPERATIONS: &str = "
CREATE TABLE IF NOT EXISTS sync_operations (
    owner_id {uuid} NOT NULL,
    op_id {uuid} NOT NULL,
    digest {digest} NOT NULL,
    applied_at {int} NOT NULL,
    PRIMARY KEY (owner_id, op_id),
    CONSTRAINT sync_operations_age UNIQUE (applied_at, owner_id, op_id),
    CONSTRAINT sync_operations_owner FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

const TABLES: [&str; 3] = ["sync_operations", "trip_shares", "idempotency_keys"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[IDEMPOTENCY_KEYS, TRIP_SHARES, SYNC_OPERATIONS]).await?;
        if !manager.has_index("trip_tombstones", "trip_tombstones_age").await? {
            let index = "CREATE INDEX trip_tombstones_age ON trip_tombstones (deleted_at)";
            dialect::run(manager, &[index]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("trip_tombstones", "trip_tombstones_age").await? {
            dialect::run(manager, &["DROP INDEX trip_tombstones_age{on_tombstones}"]).await?;
        }
        for table in TABLES {
            dialect::run(manager, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
        }
        Ok(())
    }
}

//! Adds what each user has stored to the change counters, so that a quota is checked without counting rows.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Added one at a time, so that each can be checked for and the step can be repeated.
const COLUMNS: [&str; 7] = [
    "trips",
    // The size of the texts of the trips, in bytes of UTF-8.
    "trip_bytes",
    "sync_operations",
    "tombstones",
    // The number of the last change whose tombstone was deleted because the user had too many.
    "tombstones_until",
    // The last day on which the user has claimed an idempotency key, since 1970-01-01, and the number of keys.
    "keys_day",
    "keys_claimed",
];

/// Finds the user's sessions that have been idle longest.
const SESSIONS_INDEX: &str = "sessions_last_seen";

// The transaction that changes the rows updates these numbers from now on.
const FILL: [&str; 3] = [
    "UPDATE trip_counters SET
        trips = (SELECT COUNT(*) FROM trips WHERE trips.owner_id = trip_counters.owner_id),
        tombstones = (
            SELECT COUNT(*) FROM trip_tombstones WHERE trip_tombstones.owner_id = trip_counters.owner_id
        )",
    "UPDATE trip_counters SET trip_bytes = (
        SELECT COALESCE(SUM(
            octet_length(title) + COALESCE(octet_length(destination), 0) + COALESCE(octet_length(time_zone), 0)
            + COALESCE(octet_length(notes), 0) + octet_length(stops)
        ), 0) FROM trips WHERE trips.owner_id = trip_counters.owner_id
    )",
    // A user may have applied operations without a change.
    "INSERT INTO trip_counters (owner_id, value)
        SELECT DISTINCT owner_id, 0 FROM sync_operations WHERE NOT EXISTS (
            SELECT 1 FROM trip_counters WHERE trip_counters.owner_id = sync_operations.owner_id
        )",
];
const FILL_OPERATIONS: &str = "
UPDATE trip_counters SET sync_operations = (
    SELECT COUNT(*) FROM sync_operations WHERE sync_operations.owner_id = trip_counters.owner_id
)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            if !manager.has_column("trip_counters", column).await? {
                let statement =
                    format!("ALTER TABLE trip_counters ADD COLUMN {column} {{int}} NOT NULL DEFAULT 0");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        if !manager.has_index("sessions", SESSIONS_INDEX).await? {
            let index =
                format!("CREATE INDEX {SESSIONS_INDEX} ON sessions (user_id, ended_at, last_seen_at, id)");
            dialect::run(manager, &[&index]).await?;
        }
        dialect::run(manager, &FILL).await?;
        dialect::run(manager, &[FILL_OPERATIONS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("sessions", SESSIONS_INDEX).await? {
            dialect::run(manager, &[&format!("DROP INDEX {SESSIONS_INDEX}{{on_sessions}}")]).await?;
        }
        for column in COLUMNS.iter().rev() {
            if manager.has_column("trip_counters", column).await? {
                let statement = format!("ALTER TABLE trip_counters DROP COLUMN {column}");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        Ok(())
    }
}

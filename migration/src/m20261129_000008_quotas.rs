//! Adds columns to the change counters for the amounts of data that each user has stored, so that the server
//! can check a quota without counting rows.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
const COLUMNS: [&str; 7] = [
    "trips",
    // The size of the texts of the trips, in bytes of UTF-8.
    "trip_bytes",
    "sync_operations",
    "tombstones",
    // The `change_seq` of the last tombstone that was deleted because the user had too many tombstones.
    "tombstones_until",
    // The last day on which the user claimed idempotency keys, as the number of days since 1970-01-01, and
    // the number of keys that the user claimed on this day.
    "keys_day",
    "keys_claimed",
];

/// The index that finds the sessions of a user that have been idle longest.
const SESSIONS_INDEX: &str = "sessions_last_seen";

// Computes the columns of the counter from the rows that are already stored. After this step, each transaction
// that changes trips or tombstones also updates these columns.
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
    // A user can have applied operations but no counter, because not every applied operation changes a trip.
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

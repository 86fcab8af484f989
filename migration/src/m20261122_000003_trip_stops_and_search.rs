//! Adds stops, search and sort columns to trips, and the tombstones of deleted trips.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// Tombstones of deleted trips, for the sync feed. `version` is the trip's last version plus one.
const TRIP_TOMBSTONES: &str = "
CREATE TABLE IF NOT EXISTS trip_tombstones (
    owner_id {uuid} NOT NULL,
    trip_id {uuid} NOT NULL,
    change_seq {int} NOT NULL,
    version {int} NOT NULL,
    deleted_at {int} NOT NULL,
    PRIMARY KEY (owner_id, trip_id),
    CONSTRAINT trip_tombstones_changes UNIQUE (owner_id, change_seq),
    CONSTRAINT trip_tombstones_owner FOREIGN KEY (owner_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
const COLUMNS: &[(&str, &str)] = &[
    // A JSON array. A trip is one row with one version, so the row also contains the stops.
    ("stops", "{long} NOT NULL {default_list}"),
    // Sort keys, which all databases sort in the same order. `start_key` is the number of days since
    // 1970-01-01; its default sorts trips without a start date last. `title_key` is the title without case
    // and accents.
    ("start_key", "{int} NOT NULL DEFAULT 9000000"),
    ("title_key", "{text200} {binary} NOT NULL DEFAULT ''"),
    // Title, destination and notes without case and accents, for the search.
    ("search", "{long} NOT NULL {default_empty}"),
];

// Fills the columns of existing rows. SQL can't remove accents, so the columns contain accents until the next
// update of the trip.
const FILL: &str = "
UPDATE trips SET start_key = COALESCE({days(start_date)}, 9000000), title_key = lower(title),
    search = lower(concat_ws('\n', title, destination, notes)) WHERE search = ''";

const INDEXES: &[(&str, &str)] = &[
    ("trips_changes", "(owner_id, change_seq, id)"),
    ("trips_starts", "(owner_id, start_key, id)"),
    ("trips_titles", "(owner_id, title_key, id)"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[TRIP_TOMBSTONES]).await?;
        for (column, definition) in COLUMNS {
            if !manager.has_column("trips", column).await? {
                let statement = format!("ALTER TABLE trips ADD COLUMN {column} {definition}");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        dialect::run(manager, &[FILL]).await?;
        for (index, columns) in INDEXES {
            if !manager.has_index("trips", index).await? {
                dialect::run(manager, &[&format!("CREATE INDEX {index} ON trips {columns}")]).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (index, _) in INDEXES.iter().rev() {
            if manager.has_index("trips", index).await? {
                dialect::run(manager, &[&format!("DROP INDEX {index}{{on_trips}}")]).await?;
            }
        }
        for (column, _) in COLUMNS.iter().rev() {
            if manager.has_column("trips", column).await? {
                dialect::run(manager, &[&format!("ALTER TABLE trips DROP COLUMN {column}")]).await?;
            }
        }
        dialect::run(manager, &["DROP TABLE IF EXISTS trip_tombstones"]).await
    }
}

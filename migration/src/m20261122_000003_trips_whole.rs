//! Stops, what trips are found and sorted by, and what remains of those that were deleted.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// What the sync feed tells of a trip that is no more. Its version is the one after the last.
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

/// Column by column, because that is what can be asked for and repeated.
const COLUMNS: &[(&str, &str)] = &[
    // JSON, whole: a trip is one row and has one version, so its stops are in it.
    ("stops", "{long} NOT NULL {default_list}"),
    // What the list is sorted by, in one form everywhere. `start_key` counts days from 1970 and puts
    // what has no start after everything that has; `title_key` is the title without case and accents.
    ("start_key", "{int} NOT NULL DEFAULT 9000000"),
    ("title_key", "{text200} {binary} NOT NULL DEFAULT ''"),
    // Title, destination and notes without case and accents: what the list is searched in.
    ("search", "{long} NOT NULL {default_empty}"),
];

// Of what was there before this step, as well as the database can: accents go with a trip's next change.
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

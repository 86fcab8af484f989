//! Adds the language and the state of accounts, the addresses and devices of security events, and known
//! devices.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const KNOWN_DEVICES: &str = "
CREATE TABLE IF NOT EXISTS known_devices (
    user_id {uuid} NOT NULL,
    digest {digest} NOT NULL,
    last_seen_at {int} NOT NULL,
    PRIMARY KEY (user_id, digest),
    CONSTRAINT known_devices_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("users", "locale", "{text64}"),
    // Incremented when the password or the state of the account changes, so that a login that began before
    // the change is refused.
    ("users", "credentials_version", "{int} NOT NULL DEFAULT 0"),
    ("users", "disabled_at", "{int}"),
    ("security_events", "ip", "{text64}"),
    ("security_events", "device_name", "{text100}"),
    ("security_events", "user_agent", "{text512}"),
];

/// The index that finds old events.
const INDEX: &str = "security_events_created_at";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[KNOWN_DEVICES]).await?;
        for (table, column, kind) in COLUMNS {
            if !manager.has_column(table, column).await? {
                let statement = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        if !manager.has_index("security_events", INDEX).await? {
            dialect::run(manager, &[&format!("CREATE INDEX {INDEX} ON security_events (created_at)")])
                .await?;
        }
        // From this step on, the API returns the names of events, so the event of a reused refresh token gets
        // its final name.
        let rename =
            "UPDATE security_events SET kind = 'refresh_token_reuse' WHERE kind = 'refresh_token_reused'";
        dialect::run(manager, &[rename]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rename =
            "UPDATE security_events SET kind = 'refresh_token_reused' WHERE kind = 'refresh_token_reuse'";
        dialect::run(manager, &[rename]).await?;
        if manager.has_index("security_events", INDEX).await? {
            dialect::run(manager, &[&format!("DROP INDEX {INDEX}{{on_security_events}}")]).await?;
        }
        for (table, column, _) in COLUMNS.iter().rev() {
            if manager.has_column(table, column).await? {
                dialect::run(manager, &[&format!("ALTER TABLE {table} DROP COLUMN {column}")]).await?;
            }
        }
        dialect::run(manager, &["DROP TABLE IF EXISTS known_devices"]).await
    }
}

//! Adds refresh and revocation of sessions, key rotation, clients and security events.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A row revokes the tokens of `subject` (a session, a token or a user) that were issued before
// `minted_before`. At the time `until`, all of these tokens have expired. Other replicas find new rows by
// `seq`.
const REVOCATIONS: &str = "
CREATE TABLE IF NOT EXISTS revocations (
    seq {serial},
    subject {uuid} NOT NULL,
    minted_before {int} NOT NULL,
    until {int} NOT NULL,
    CONSTRAINT revocations_until UNIQUE (until, seq)
) {table}";

// Leases of background jobs. The replica that holds the lease of a job runs the job. After `until`, another replica can
// take the lease.
const LEASES: &str = "
CREATE TABLE IF NOT EXISTS leases (
    name {text64} NOT NULL PRIMARY KEY,
    holder {uuid} NOT NULL,
    until {int} NOT NULL
) {clustered}";

// Services that the operator registers. Their secrets are random, so plain digests of them are sufficient.
const CLIENTS: &str = "
CREATE TABLE IF NOT EXISTS clients (
    id {text64} NOT NULL PRIMARY KEY,
    name {text100} NOT NULL,
    secret_digest {bytes} NOT NULL,
    created_at {int} NOT NULL,
    CONSTRAINT clients_name UNIQUE (name),
    CONSTRAINT clients_name_length CHECK ({length}(name) BETWEEN 1 AND 100)
) {clustered}";

const SECURITY_EVENTS: &str = "
CREATE TABLE IF NOT EXISTS security_events (
    user_id {uuid} NOT NULL,
    id {uuid} NOT NULL,
    kind {text64} NOT NULL,
    session_id {uuid},
    created_at {int} NOT NULL,
    PRIMARY KEY (user_id, id),
    CONSTRAINT security_events_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

/// The step adds each column separately, and only if the column is missing, so that the step can be repeated.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("sessions", "rotated_at", "{int} NOT NULL DEFAULT 0"),
    ("sessions", "used_generation", "{int} NOT NULL DEFAULT 0"),
    ("sessions", "access_expires_at", "{int} NOT NULL DEFAULT 0"),
    ("sessions", "ended_at", "{int}"),
    ("signing_keys", "activated_at", "{int}"),
    ("signing_keys", "retired_at", "{int}"),
    ("signing_keys", "delete_at", "{int}"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[REVOCATIONS, LEASES, CLIENTS, SECURITY_EVENTS]).await?;
        for (table, column, definition) in COLUMNS {
            if !manager.has_column(table, column).await? {
                let statement = format!("ALTER TABLE {table} ADD COLUMN {column} {definition}");
                dialect::run(manager, &[&statement]).await?;
            }
        }
        if !manager.has_index("sessions", "sessions_idle_expires_at").await? {
            dialect::run(manager, &["CREATE INDEX sessions_idle_expires_at ON sessions (idle_expires_at)"])
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index("sessions", "sessions_idle_expires_at").await? {
            dialect::run(manager, &["DROP INDEX sessions_idle_expires_at{on_sessions}"]).await?;
        }
        for (table, column, _) in COLUMNS.iter().rev() {
            if manager.has_column(table, column).await? {
                dialect::run(manager, &[&format!("ALTER TABLE {table} DROP COLUMN {column}")]).await?;
            }
        }
        for table in ["security_events", "clients", "leases", "revocations"] {
            dialect::run(manager, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
        }
        Ok(())
    }
}

//! Adds flows, which are codes and links that are sent by mail, and the number of wrong codes of each user or
//! address.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The unique constraints serve as indexes: for the earlier flows of a subject, the flows of a user, and
// expired flows.
const FLOWS: &str = "
CREATE TABLE IF NOT EXISTS flows (
    id {uuid} NOT NULL,
    purpose {text32} NOT NULL,
    user_id {uuid},
    subject {digest} NOT NULL,
    address {text254},
    code_tag {digest} NOT NULL,
    is_bound {bool} NOT NULL,
    was_verified {bool} NOT NULL,
    password_hash {text100},
    tries {int} NOT NULL,
    created_at {int} NOT NULL,
    expires_at {int} NOT NULL,
    used_at {int},
    superseded_at {int},
    PRIMARY KEY (id),
    CONSTRAINT flows_by_subject UNIQUE (subject, purpose, id),
    CONSTRAINT flows_by_user UNIQUE (user_id, id),
    CONSTRAINT flows_by_expiry UNIQUE (expires_at, id),
    CONSTRAINT flows_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

const FAILURES: &str = "
CREATE TABLE IF NOT EXISTS flow_failures (
    subject {digest} NOT NULL,
    since {int} NOT NULL,
    failures {int} NOT NULL,
    PRIMARY KEY (subject),
    CONSTRAINT flow_failures_by_since UNIQUE (since, subject)
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[FLOWS, FAILURES]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &["DROP TABLE IF EXISTS flow_failures", "DROP TABLE IF EXISTS flows"]).await
    }
}

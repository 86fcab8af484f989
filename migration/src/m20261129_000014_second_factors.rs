//! Adds authenticator apps, recovery codes, and logins that wait for a second factor.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TOTP_SECRETS: &str = "
CREATE TABLE IF NOT EXISTS totp_secrets (
    user_id {uuid} NOT NULL PRIMARY KEY,
    sealed {bytes},
    confirmed_at {int},
    last_step {int} NOT NULL,
    pending {bytes},
    pending_until {int} NOT NULL,
    failures {int} NOT NULL,
    blocked_until {int} NOT NULL,
    CONSTRAINT totp_secrets_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

const RECOVERY_CODES: &str = "
CREATE TABLE IF NOT EXISTS recovery_codes (
    user_id {uuid} NOT NULL,
    tag {digest} NOT NULL,
    PRIMARY KEY (user_id, tag),
    CONSTRAINT recovery_codes_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

// The token of a pending login is random, so a plain digest of the token is sufficient.
const PENDING_LOGINS: &str = "
CREATE TABLE IF NOT EXISTS pending_logins (
    token_digest {digest} NOT NULL PRIMARY KEY,
    user_id {uuid} NOT NULL,
    tries {int} NOT NULL,
    expires_at {int} NOT NULL,
    scope {text200} NOT NULL,
    amr {text64} NOT NULL,
    device_name {text100},
    user_agent {text512},
    CONSTRAINT pending_logins_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

/// The indexes of `pending_logins`: for the logins of a user, and for expired logins.
const INDEXES: [(&str, &str); 2] =
    [("pending_logins_user_id", "user_id, expires_at"), ("pending_logins_expires_at", "expires_at")];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[TOTP_SECRETS, RECOVERY_CODES, PENDING_LOGINS]).await?;
        for (index, columns) in INDEXES {
            if !manager.has_index("pending_logins", index).await? {
                dialect::run(manager, &[&format!("CREATE INDEX {index} ON pending_logins ({columns})")])
                    .await?;
            }
        }
        if !manager.has_column("users", "mfa_enabled").await? {
            let column = "ALTER TABLE users ADD COLUMN mfa_enabled {bool} NOT NULL DEFAULT FALSE";
            dialect::run(manager, &[column]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column("users", "mfa_enabled").await? {
            dialect::run(manager, &["ALTER TABLE users DROP COLUMN mfa_enabled"]).await?;
        }
        for table in ["pending_logins", "recovery_codes", "totp_secrets"] {
            dialect::run(manager, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
        }
        Ok(())
    }
}

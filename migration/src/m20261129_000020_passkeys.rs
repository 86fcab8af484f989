//! Adds passkeys, and the challenges of Web Authentication ceremonies (registrations of passkeys and
//! authentications by passkeys) that are in progress.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A credential id has up to 1023 bytes, too many for an index, so the unique constraint is on its SHA-256.
const PASSKEYS: &str = "
CREATE TABLE IF NOT EXISTS passkeys (
    user_id {uuid} NOT NULL,
    id {uuid} NOT NULL,
    credential_digest {digest} NOT NULL,
    credential_id {bytes} NOT NULL,
    public_key {bytes} NOT NULL,
    sign_count {int} NOT NULL,
    backup_eligible {bool} NOT NULL,
    backed_up {bool} NOT NULL,
    transports {text200} NOT NULL,
    rp_id {text254} NOT NULL,
    name {text100} NOT NULL,
    created_at {int} NOT NULL,
    last_used_at {int},
    PRIMARY KEY (user_id, id),
    CONSTRAINT passkeys_credential UNIQUE (credential_digest),
    CONSTRAINT passkeys_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT passkeys_name_length CHECK ({length}(name) BETWEEN 1 AND 100)
) {clustered}";

// The unique constraints also serve as indexes: by user and by expiry.
const CHALLENGES: &str = "
CREATE TABLE IF NOT EXISTS passkey_challenges (
    id {uuid} NOT NULL PRIMARY KEY,
    ceremony {text32} NOT NULL,
    user_id {uuid},
    login_digest {digest},
    challenge {digest} NOT NULL,
    expires_at {int} NOT NULL,
    CONSTRAINT passkey_challenges_user_id UNIQUE (user_id, id),
    CONSTRAINT passkey_challenges_expires_at UNIQUE (expires_at, id),
    CONSTRAINT passkey_challenges_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[PASSKEYS, CHALLENGES]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = ["DROP TABLE IF EXISTS passkey_challenges", "DROP TABLE IF EXISTS passkeys"];
        dialect::run(manager, &statements).await
    }
}

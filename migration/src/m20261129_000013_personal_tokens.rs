//! Adds personal access tokens and the nonces of HTTP Digest.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const PERSONAL_TOKENS: &str = "
CREATE TABLE IF NOT EXISTS personal_tokens (
    user_id {uuid} NOT NULL,
    id {uuid} NOT NULL,
    name {text100} NOT NULL,
    scope {text200} NOT NULL,
    token_hash {digest} NOT NULL,
    sealed_digest_hash {bytes},
    created_at {int} NOT NULL,
    expires_at {int},
    last_used_at {int},
    PRIMARY KEY (user_id, id),
    CONSTRAINT personal_tokens_id UNIQUE (id),
    CONSTRAINT personal_tokens_expires_at UNIQUE (expires_at, id),
    CONSTRAINT personal_tokens_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT personal_tokens_name_length CHECK ({length}(name) BETWEEN 1 AND 100)
) {clustered}";

// `nc` is the highest nonce count that a request with this nonce has used (RFC 7616 §3.4). The unique
// constraint serves as an index to find old rows.
const DIGEST_NONCES: &str = "
CREATE TABLE IF NOT EXISTS digest_nonces (
    id {uuid} NOT NULL PRIMARY KEY,
    nc {int} NOT NULL,
    issued_at {int} NOT NULL,
    CONSTRAINT digest_nonces_issued_at UNIQUE (issued_at, id)
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[PERSONAL_TOKENS, DIGEST_NONCES]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements = ["DROP TABLE IF EXISTS digest_nonces", "DROP TABLE IF EXISTS personal_tokens"];
        dialect::run(manager, &statements).await
    }
}

//! Requests that make something, under the keys that their clients gave them.

use sea_orm::entity::prelude::*;

/// A row of `idempotency_keys`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    /// SHA-256 of the key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_digest: Vec<u8>,
    /// SHA-256 of what was asked.
    pub request_digest: Vec<u8>,
    /// Whoever runs it.
    pub holder: Uuid,
    pub claimed_at: i64,
    pub expires_at: i64,
    /// Of the answer; NULL while it runs.
    pub status: Option<i64>,
    pub location: Option<String>,
    pub etag: Option<String>,
    /// Of the answer; NULL while it runs.
    pub body: Option<Vec<u8>>,
}

impl ActiveModelBehavior for ActiveModel {}

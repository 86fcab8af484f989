//! Requests with an idempotency key, and their responses.

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
    /// SHA-256 of the request.
    pub request_digest: Vec<u8>,
    /// The id of the claim under which the request runs.
    pub holder: Uuid,
    pub claimed_at: i64,
    pub expires_at: i64,
    /// Status of the response. NULL while the request runs.
    pub status: Option<i64>,
    /// `Location` of a whole response that an earlier version of the server has stored.
    pub location: Option<String>,
    /// `ETag` of a whole response that an earlier version of the server has stored.
    pub etag: Option<String>,
    /// Body of a whole response that an earlier version of the server has stored; empty if there is a
    /// reference. NULL while the request runs.
    pub body: Option<Vec<u8>>,
    /// JSON from which the response is built again. NULL while the request runs, or if an earlier version of
    /// the server has stored the whole response.
    pub reference: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

//! Personal access tokens of users.

use sea_orm::entity::prelude::*;

/// A row of `personal_tokens`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "personal_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    /// Scope names separated by spaces.
    pub scope: String,
    /// The keyed hash of the token.
    pub token_hash: Vec<u8>,
    /// `H(A1)` of RFC 7616, encrypted. NULL if the token is not for HTTP Digest.
    pub sealed_digest_hash: Option<Vec<u8>>,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

//! Keys that sign access tokens.

use sea_orm::entity::prelude::*;

/// A row of `signing_keys`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// A JWS algorithm (RFC 7518).
    pub alg: String,
    /// `standby`, `active` or `retired`.
    pub status: String,
    /// 1 for the active key, NULL for all others. Unique.
    pub active_slot: Option<i64>,
    /// The public key.
    pub public_key: Vec<u8>,
    /// The private key (PKCS #8), encrypted under the master secret.
    pub sealed_private_key: Vec<u8>,
    pub created_at: i64,
    /// When the key became active.
    pub activated_at: Option<i64>,
    /// When the key was retired.
    pub retired_at: Option<i64>,
    /// When the last token that the key has signed expires. From then on, the key can be deleted.
    pub delete_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

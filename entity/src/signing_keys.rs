//! The keys that sign access tokens.

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
    /// 1 on the active key, NULL on all others: unique.
    pub active_slot: Option<i64>,
    /// What verifies, in the clear.
    pub public_key: Vec<u8>,
    /// What signs, PKCS #8, encrypted under the master secret.
    pub sealed_private_key: Vec<u8>,
    pub created_at: i64,
    /// When it began to sign.
    pub activated_at: Option<i64>,
    /// When it ceased to sign.
    pub retired_at: Option<i64>,
    /// When the last token that it signed has expired, so that it can go.
    pub delete_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

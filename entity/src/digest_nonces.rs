//! The nonces of HTTP Digest that requests have used.

use sea_orm::entity::prelude::*;

/// A row of `digest_nonces`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "digest_nonces")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The highest nonce count (`nc`) that a request with this nonce has used.
    pub nc: i64,
    pub issued_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

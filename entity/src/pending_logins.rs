//! Logins that wait for the second factor.

use sea_orm::entity::prelude::*;

/// A row of `pending_logins`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_logins")]
pub struct Model {
    /// SHA-256 of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_digest: Vec<u8>,
    pub user_id: Uuid,
    /// The number of attempts so far.
    pub tries: i64,
    pub expires_at: i64,
    /// Scope names separated by spaces.
    pub scope: String,
    /// The authentication methods of the first factor, separated by spaces.
    pub amr: String,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    /// The device that the client's device token identifies.
    pub device_id: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}

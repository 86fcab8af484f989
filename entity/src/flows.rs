//! Codes and links that are sent by mail.

use sea_orm::entity::prelude::*;

/// A row of `flows`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flows")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub purpose: String,
    /// NULL if no account has the address.
    pub user_id: Option<Uuid>,
    /// The session that the link ends, or in which the code is valid.
    pub session_id: Option<Uuid>,
    /// Keyed hash of the user, the address or the session that the flow belongs to.
    pub subject: Vec<u8>,
    /// The address that the flow is about, as entered.
    pub address: Option<String>,
    /// Keyed hash of the code.
    pub code_tag: Vec<u8>,
    /// Whether the code alone is sufficient, without a password.
    pub is_bound: bool,
    /// For the undo of an address change: whether the previous address was confirmed.
    pub was_verified: bool,
    /// The bcrypt hash of the password that a repeated sign-up sets.
    pub password_hash: Option<String>,
    pub tries: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub used_at: Option<i64>,
    pub superseded_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

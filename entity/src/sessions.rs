//! Logins that are kept, one row each.

use sea_orm::entity::prelude::*;

/// A row of `sessions`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The number of the newest refresh token, from 1.
    pub generation: i64,
    /// Separated by spaces.
    pub scope: String,
    /// How the person proved who they are (RFC 8176), separated by spaces.
    pub amr: String,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: i64,
    pub last_seen_at: i64,
    pub idle_expires_at: i64,
    pub expires_at: i64,
    /// When the newest generation was begun.
    pub rotated_at: i64,
    /// The newest generation whose tokens were seen in use; 0 if none was.
    pub used_generation: i64,
    /// When the last access token that was minted for it expires.
    pub access_expires_at: i64,
    /// When it was ended before its time.
    pub ended_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

//! Sessions, one row for each session.

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
    /// The generation of the latest refresh token, from 1.
    pub generation: i64,
    /// Scope names separated by spaces.
    pub scope: String,
    /// Authentication methods (RFC 8176) separated by spaces.
    pub amr: String,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: i64,
    pub last_seen_at: i64,
    pub idle_expires_at: i64,
    pub expires_at: i64,
    /// When the latest generation was issued.
    pub rotated_at: i64,
    /// The latest generation whose access token was used; 0 if none was used.
    pub used_generation: i64,
    /// When the last access token of the session expires.
    pub access_expires_at: i64,
    /// When the user last authenticated in this session. 0 in a row that an earlier version of the server
    /// inserted, until the user authenticates again.
    pub authenticated_at: i64,
    /// When the session was revoked.
    pub ended_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

//! Authenticator apps, one row for each user who has begun to enrol an app.

use sea_orm::entity::prelude::*;

/// A row of `totp_secrets`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "totp_secrets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// The secret in use and the key of the recovery codes, encrypted. NULL until the first confirmation.
    pub sealed: Option<Vec<u8>>,
    /// When the secret in use was confirmed.
    pub confirmed_at: Option<i64>,
    /// The time step of the latest code that was used.
    pub last_step: i64,
    /// A secret that is not confirmed yet, encrypted.
    pub pending: Option<Vec<u8>>,
    /// When the unconfirmed secret expires.
    pub pending_until: i64,
    /// The number of wrong codes since the last correct code.
    pub failures: i64,
    /// The time until which codes are rejected without a comparison.
    pub blocked_until: i64,
}

impl ActiveModelBehavior for ActiveModel {}

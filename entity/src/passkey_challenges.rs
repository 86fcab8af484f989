//! Challenges of Web Authentication ceremonies (registrations of passkeys and authentications by passkeys)
//! that are in progress.

use sea_orm::entity::prelude::*;

/// A row of `passkey_challenges`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "passkey_challenges")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name of the ceremony.
    pub ceremony: String,
    /// NULL if the user is not known yet.
    pub user_id: Option<Uuid>,
    /// SHA-256 of the token of the login that waits for a second factor.
    pub login_digest: Option<Vec<u8>>,
    pub challenge: Vec<u8>,
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

//! Invitations to sign up.

use sea_orm::entity::prelude::*;

/// A row of `invites`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invites")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// SHA-256 of the code.
    pub code_digest: Vec<u8>,
    /// The number of accounts that the code allows.
    pub uses: i64,
    /// The number of accounts that were created with the code.
    pub used: i64,
    pub created_at: i64,
    /// NULL if the code does not expire.
    pub expires_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

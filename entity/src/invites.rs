//! Invitations to sign up.

use sea_orm::entity::prelude::*;

/// A row of `invites`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invites")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// A SHA-256 of the code.
    pub code_digest: Vec<u8>,
    /// How many accounts the code creates in all.
    pub uses: i64,
    /// How many more accounts the code creates.
    pub uses_left: i64,
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}

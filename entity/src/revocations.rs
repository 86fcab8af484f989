//! Revocations of tokens before their expiry.

use sea_orm::entity::prelude::*;

/// A row of `revocations`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocations")]
pub struct Model {
    /// The position in the order of insertion.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// A session, a token or a user.
    pub subject: Uuid,
    /// Tokens of the subject that were minted before this instant are revoked.
    pub minted_before: i64,
    /// When the last revoked token expires.
    pub until: i64,
}

impl ActiveModelBehavior for ActiveModel {}

//! Other services that may ask about tokens.

use sea_orm::entity::prelude::*;

/// A row of `clients`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "clients")]
pub struct Model {
    /// The `client_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_digest: Vec<u8>,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

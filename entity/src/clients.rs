//! Services that may introspect and revoke tokens.

use sea_orm::entity::prelude::*;

/// A row of `clients`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "clients")]
pub struct Model {
    /// The `client_id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The operator's name for the service.
    pub name: String,
    /// SHA-256 of the secret.
    pub secret_digest: Vec<u8>,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

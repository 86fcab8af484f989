//! The servers that use this database, one row each.

use sea_orm::entity::prelude::*;

/// A row of `replicas`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replicas")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub version: String,
    pub host: String,
    pub address: String,
    pub secret_fingerprint: String,
    pub public_url: String,
    /// The newest migration step that the version of the server contains.
    pub schema_step: String,
    /// The system clock minus the database's clock, in milliseconds.
    pub clock_offset: i64,
    pub started_at: i64,
    pub seen_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

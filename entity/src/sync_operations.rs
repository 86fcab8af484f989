//! Applied sync operations of offline apps.

use sea_orm::entity::prelude::*;

/// A row of `sync_operations`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sync_operations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub op_id: Uuid,
    /// SHA-256 of the operation.
    pub digest: Vec<u8>,
    pub applied_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

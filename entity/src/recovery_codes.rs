//! Recovery codes, one row for each unused code.

use sea_orm::entity::prelude::*;

/// A row of `recovery_codes`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recovery_codes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// HMAC-SHA-256 of the code.
    #[sea_orm(primary_key, auto_increment = false)]
    pub tag: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}

//! Devices on which accounts were used.

use sea_orm::entity::prelude::*;

/// A row of `known_devices`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "known_devices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    /// SHA-256 of the name of the device and of its `User-Agent`. Digits and dots are removed from the
    /// `User-Agent` first.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: Vec<u8>,
    pub last_seen_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

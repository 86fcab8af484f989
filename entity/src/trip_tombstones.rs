//! Tombstones of deleted trips.

use sea_orm::entity::prelude::*;

/// A row of `trip_tombstones`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trip_tombstones")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub trip_id: Uuid,
    /// The value of the owner's counter at the deletion.
    pub change_seq: i64,
    /// The trip's last version plus one.
    pub version: i64,
    pub deleted_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

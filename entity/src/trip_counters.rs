//! Change counters of the users' trips, and the amounts of data that each user has stored.

use sea_orm::entity::prelude::*;

/// A row of `trip_counters`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trip_counters")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    pub value: i64,
    pub trips: i64,
    pub trip_bytes: i64,
    pub sync_operations: i64,
    pub tombstones: i64,
    pub tombstones_until: i64,
    pub keys_day: i64,
    pub keys_claimed: i64,
}

impl ActiveModelBehavior for ActiveModel {}

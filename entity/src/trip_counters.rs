//! Change counters of the users' trips.

use sea_orm::entity::prelude::*;

/// A row of `trip_counters`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trip_counters")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    pub value: i64,
}

impl ActiveModelBehavior for ActiveModel {}

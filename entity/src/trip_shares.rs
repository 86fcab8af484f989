//! Share links of trips.

use sea_orm::entity::prelude::*;

/// A row of `trip_shares`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "trip_shares")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub trip_id: Uuid,
    /// A random id. The link contains this id.
    pub id: Uuid,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

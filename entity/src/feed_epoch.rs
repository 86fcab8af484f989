//! The identity, the feed epoch and the generation of the database.

use sea_orm::entity::prelude::*;

/// The only row of `feed_epoch`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "feed_epoch")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub database_id: Uuid,
    pub epoch: i64,
    pub version_floor: i64,
    pub generation: i64,
    pub began_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

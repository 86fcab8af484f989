//! Leases, each of which selects one replica for a job.

use sea_orm::entity::prelude::*;

/// A row of `leases`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leases")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub holder: Uuid,
    pub until: i64,
}

impl ActiveModelBehavior for ActiveModel {}

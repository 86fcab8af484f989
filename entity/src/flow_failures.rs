//! The number of wrong codes of each user or address.

use sea_orm::entity::prelude::*;

/// A row of `flow_failures`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "flow_failures")]
pub struct Model {
    /// Keyed hash of the user or the address, as in `flows`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject: Vec<u8>,
    /// The time of the first counted wrong code.
    pub since: i64,
    pub failures: i64,
}

impl ActiveModelBehavior for ActiveModel {}

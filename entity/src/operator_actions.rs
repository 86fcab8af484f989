//! Administrative commands that operators have run.

use sea_orm::entity::prelude::*;

/// A row of `operator_actions`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operator_actions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_at: i64,
    /// The user of the operating system who ran the command.
    pub operator: String,
    pub command: String,
    /// The subject of the command, such as the id of a user.
    pub subject: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

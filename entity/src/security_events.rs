//! Security events of accounts.

use sea_orm::entity::prelude::*;

/// A row of `security_events`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "security_events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub kind: String,
    pub session_id: Option<Uuid>,
    pub created_at: i64,
    /// The address of the client.
    pub ip: Option<String>,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

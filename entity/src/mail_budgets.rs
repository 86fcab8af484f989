//! The recent mails to each mailbox.

use sea_orm::entity::prelude::*;

/// A row of `mail_budgets`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mail_budgets")]
pub struct Model {
    /// A keyed hash of the address.
    #[sea_orm(primary_key, auto_increment = false)]
    pub mailbox: Vec<u8>,
    /// Increases with every change of the row.
    pub version: i64,
    /// The time of the last mail.
    pub newest_at: i64,
    /// The times of the mails of the last day, as text.
    pub times: String,
}

impl ActiveModelBehavior for ActiveModel {}

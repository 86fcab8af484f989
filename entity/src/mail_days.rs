//! The number of mails that the server has queued on each day.

use sea_orm::entity::prelude::*;

/// A row of `mail_days`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mail_days")]
pub struct Model {
    /// The number of days since 1970-01-01, in UTC.
    #[sea_orm(primary_key, auto_increment = false)]
    pub day: i64,
    pub mails: i64,
}

impl ActiveModelBehavior for ActiveModel {}

//! The counters of the throttle, which are called buckets.

use sea_orm::entity::prelude::*;

/// A row of `throttle_buckets`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "throttle_buckets")]
pub struct Model {
    /// A keyed hash of the limit's name and of what the limit counts by, such as an account or an address. Each
    /// limit has only 2^20 ids, so that invented names can't fill the table.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The name of the limit.
    pub kind: String,
    /// The keyed hash of the name of the account; 0 if the bucket has no account.
    pub account: i64,
    /// The address or network of the last attempt; empty if the bucket has no address.
    pub address: String,
    /// When the last counted attempt expires.
    pub forgotten_at: i64,
    /// The time until which attempts are refused.
    pub blocked_until: i64,
    /// The time until which no further alert is sent.
    pub alerted_until: i64,
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

//! What the throttle has counted.

use sea_orm::entity::prelude::*;

/// A row of `throttle_buckets`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "throttle_buckets")]
pub struct Model {
    /// The limit and the place of the key in its bounded space.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The name of the limit.
    pub kind: String,
    /// The keyed hash of the account's name; 0 for none.
    pub account: i64,
    /// The address or network of the last attempt; empty for none.
    pub address: String,
    /// When all counted attempts have expired.
    pub forgotten_at: i64,
    /// Until when attempts are refused.
    pub blocked_until: i64,
    /// The time until which no other alert is raised.
    pub alerted_until: i64,
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}

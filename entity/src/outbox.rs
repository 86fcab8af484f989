//! Mails that wait for delivery, or whose delivery failed.

use sea_orm::entity::prelude::*;

/// A row of `outbox`.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The account that the mail belongs to, if any.
    pub user_id: Option<Uuid>,
    /// The name of the mail's template.
    pub kind: String,
    /// The `Message-ID`, the same in every attempt.
    pub message_id: String,
    /// The recipient and the values of the mail, encrypted.
    pub sealed: Vec<u8>,
    pub queued_at: i64,
    /// The number of failed attempts.
    pub attempts: i64,
    /// NULL if the delivery failed permanently.
    pub next_attempt_at: Option<i64>,
    /// When the delivery failed permanently.
    pub failed_at: Option<i64>,
    pub last_error: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

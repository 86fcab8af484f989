//! The rows of the outbox and of the budgets, as this module uses them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::MailKind;

/// A mail to insert into the outbox.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) id: Uuid,
    pub(super) user: Option<Uuid>,
    pub(super) kind: MailKind,
    pub(super) message_id: String,
    pub(super) sealed: Vec<u8>,
    pub(super) queued_at: DateTime<Utc>,
}

/// A mail in the outbox.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) kind: String,
    pub(super) message_id: String,
    pub(super) sealed: Vec<u8>,
    pub(super) queued_at: DateTime<Utc>,
    pub(super) attempts: i64,
    pub(super) next_attempt_at: Option<DateTime<Utc>>,
    pub(super) failed_at: Option<DateTime<Utc>>,
    pub(super) last_error: Option<String>,
}

/// The number of failed attempts to send a mail, before and after an update.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    pub(super) before: i64,
    pub(super) after: i64,
}

/// The recent mails to a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) version: i64,
    pub(super) times: String,
}

/// The new state of a budget.
#[derive(Debug)]
pub(super) struct BudgetUpdate<'a> {
    pub(super) mailbox: &'a [u8],
    /// The version that the new state replaces.
    pub(super) version: i64,
    pub(super) newest_at: i64,
    pub(super) times: String,
}

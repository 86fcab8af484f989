//! Records the administrative commands that were run, each with the user of the operating system who ran it.
//!
//! A command that changes an account is recorded in the transaction of the change. A record contains the
//! operator, the command and the id of its subject (for an import, the name of the file), but no secret. A
//! record is kept when the account that it names is deleted. The server deletes records after [`RETENTION`].

mod identity;
mod store;

use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::audit;
use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};

pub use identity::current_operator;

/// How long records are stored.
pub const RETENTION: TimeDelta = TimeDelta::days(400);
/// The maximum length of the name of an operator or of a subject, in characters.
const TEXT_MAX: usize = 100;
/// The maximum number of rows that are deleted in one transaction.
const SWEEP_BATCH: u64 = 500;

/// An administrative command that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The id of the record, a UUIDv7.
    pub id: Uuid,
    /// When the command was run.
    pub at: DateTime<Utc>,
    /// The user of the operating system.
    pub operator: String,
    /// The command, such as `users disable`.
    pub command: String,
    /// The subject of the command, such as the id of a user.
    pub subject: Option<String>,
}

impl Action {
    /// Creates the record of a command that the user of this process runs now.
    pub fn new(clock: &Clock, command: &str) -> Self {
        let operator = current_operator().chars().take(TEXT_MAX).collect();
        Self { id: clock.new_id(), at: clock.now(), operator, command: command.to_owned(), subject: None }
    }

    /// Sets the subject of the command.
    #[must_use]
    pub fn on(self, subject: &dyn Display) -> Self {
        let subject = subject.to_string().chars().take(TEXT_MAX).collect();
        Self { subject: Some(subject), ..self }
    }

    /// Writes the committed record to the audit log.
    pub fn log(&self) {
        audit::record_command(&self.command, &self.operator, self.subject.as_deref());
    }
}

/// Records a command in the transaction of its change. After the commit, the caller calls [`Action::log`].
///
/// # Errors
///
/// [`StoreError`].
pub async fn record(tx: &Tx, action: &Action) -> Result<(), StoreError> {
    store::insert(tx, action).await
}

/// Deletes records that are older than [`RETENTION`].
///
/// # Errors
///
/// [`StoreError`].
pub async fn sweep(db: &Db, now: DateTime<Utc>) -> Result<(), StoreError> {
    let before = now - RETENTION;
    db.sweep(before, SWEEP_BATCH, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await
}

/// Returns up to `limit` of the newest records, the newest first.
///
/// # Errors
///
/// [`StoreError`].
pub async fn list(db: &Db, limit: u64) -> Result<Vec<Action>, StoreError> {
    db.read(limit, |tx, limit| store::list(tx, *limit).boxed()).await
}

//! Adds the outbox of mails, and the counters by which the server limits the mails to each mailbox and on
//! each day.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A row is deleted when its mail is sent. `sealed` contains the recipient and the values of the mail,
// encrypted. `next_attempt_at` is NULL if and only if the delivery failed permanently.
const OUTBOX: &str = "
CREATE TABLE IF NOT EXISTS outbox (
    id {uuid} NOT NULL,
    user_id {uuid},
    kind {text32} NOT NULL,
    message_id {text254} NOT NULL,
    sealed {bytes} NOT NULL,
    queued_at {int} NOT NULL,
    attempts {int} NOT NULL,
    next_attempt_at {int},
    failed_at {int},
    last_error {text512},
    PRIMARY KEY (id),
    CONSTRAINT outbox_due UNIQUE (next_attempt_at, id),
    CONSTRAINT outbox_failed UNIQUE (failed_at, id),
    CONSTRAINT outbox_of_user UNIQUE (user_id, id),
    CONSTRAINT outbox_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT outbox_state CHECK ((next_attempt_at IS NULL) <> (failed_at IS NULL))
) {clustered}";

// The times at which mails to one mailbox were queued within the last day. The table contains only a keyed
// hash of the mailbox's address.
const MAIL_BUDGETS: &str = "
CREATE TABLE IF NOT EXISTS mail_budgets (
    mailbox {digest} NOT NULL,
    version {int} NOT NULL,
    newest_at {int} NOT NULL,
    times {text512} NOT NULL,
    PRIMARY KEY (mailbox),
    CONSTRAINT mail_budgets_age UNIQUE (newest_at, mailbox)
) {clustered}";

// The number of mails that the server has queued on a day. `day` is the number of days since 1970-01-01 in
// UTC.
const MAIL_DAYS: &str = "
CREATE TABLE IF NOT EXISTS mail_days (
    day {int} NOT NULL,
    mails {int} NOT NULL,
    PRIMARY KEY (day)
) {clustered}";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, &[OUTBOX, MAIL_BUDGETS, MAIL_DAYS]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["mail_days", "mail_budgets", "outbox"] {
            dialect::run(manager, &[&format!("DROP TABLE IF EXISTS {table}")]).await?;
        }
        Ok(())
    }
}

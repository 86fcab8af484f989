//! Mail: an outbox in the database, and a worker that sends its mails.
//!
//! [`Mail::queue`] runs in the transaction that causes the mail, so the mail is stored if and only if
//! that transaction is committed. One replica at a time delivers the mails: over SMTP, or into files if no
//! mail server is configured. A mail is sent at least once; every attempt has the same `Message-ID`. No
//! request waits for a mail server.
//!
//! The recipient and the values of a mail are encrypted in the database, because a code or a link is a
//! credential. A row is deleted when its mail is sent, when its account is deleted, or a week after the
//! delivery failed permanently. A mail is rendered when it is sent. The public URL in its links comes from
//! the settings.

mod budgets;
mod files;
mod kinds;
mod languages;
mod message;
mod rendering;
mod rows;
mod smtp;
mod smtp_stream;
mod store;
mod templates_dir;
mod test_mail;
mod transport;
mod values;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::SmtpServer;
use crate::db::{Db, StoreError, Tx};
use crate::error_chain::error_chain;
use crate::leases::Leases;
use crate::secrets::{DecryptError, MacKey, MasterSecret, Purpose, Vault};

pub use kinds::{MailKind, UnknownKind};
pub use languages::Languages;
pub use templates_dir::TemplatesError;
pub use test_mail::{TestReport, send_test};
pub use values::Values;

use message::Sender;
use rows::{NewRow, Row};
use templates_dir::Templates;
use transport::Transport;

/// How long a mail whose delivery failed permanently is listed.
const FAILED_RETENTION: TimeDelta = TimeDelta::days(7);
/// The maximum number of rows that one transaction of a sweep deletes.
const SWEEP_BATCH: u64 = 500;
/// The maximum number of mails that [`Mail::list`] returns.
const LIST_MAX: u64 = 10_000;

/// A mail to queue.
#[derive(Debug, Clone)]
pub struct NewMail {
    /// The address to which the mail is sent: the stored address of the account or, in a change of address,
    /// the new address. If a request spells the stored address differently, the stored spelling is used.
    pub to: String,
    /// The account. The mail is deleted when the account is deleted.
    pub user: Option<Uuid>,
    /// The kind of the mail.
    pub kind: MailKind,
    /// The languages of the recipient.
    pub languages: Languages,
    /// The values for the template.
    pub values: Values,
}

/// The result of queueing a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queued {
    /// The mail will be sent if the transaction is committed.
    Accepted,
    /// A budget is spent, so no mail was queued. The response to the client must not reveal this.
    OverBudget,
    /// The settings disable mails of this kind.
    TurnedOff,
}

impl MailOptions {
    fn sender(&self) -> Result<Sender, MailSetupError> {
        Ok(Sender::new(self.from.as_deref(), &self.public_url)?)
    }

    fn transport(&self) -> Result<Transport, MailSetupError> {
        let Some(server) = &self.smtp else { return Ok(Transport::Files(self.outbox_dir.clone())) };
        let url = Url::parse(&self.public_url).ok();
        let host = url.as_ref().and_then(Url::domain);
        let client = smtp::Client::new(server.clone(), self.ca_file.as_deref(), host, self.timeout)?;
        Ok(Transport::Smtp(client))
    }

    fn templates(&self) -> Result<Templates, MailSetupError> {
        let loaded = self.templates.as_deref().map(Templates::load).transpose()?;
        Ok(loaded.unwrap_or_default())
    }
}

/// Which mails are sent, and how.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// The base of every link, without a trailing slash.
    pub public_url: String,
    /// The sender, as configured. `None` selects an address at the host of `public_url`.
    pub from: Option<String>,
    /// The mail server, if there is one.
    pub smtp: Option<SmtpServer>,
    /// A file with additional root certificates for the mail server.
    pub ca_file: Option<PathBuf>,
    /// The maximum time to wait for a response of the mail server.
    pub timeout: Duration,
    /// The directory for the mails if there is no mail server.
    pub outbox_dir: PathBuf,
    /// The directory of the operator's templates.
    pub templates: Option<PathBuf>,
    /// Whether mails of the kind [`MailKind::NewDevice`] are sent.
    pub new_device: bool,
    /// The maximum number of mails in a day (UTC). `None` removes this limit and the limits of each mailbox.
    pub max_per_day: Option<u64>,
}

/// The outbox and its worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    clock: Clock,
    leases: Leases,
    vault: Vault,
    mailboxes: MacKey,
    options: MailOptions,
    sender: Sender,
    transport: Transport,
    templates: Templates,
    /// Wakes the worker when this replica queues a mail.
    queued: Notify,
}

/// The part of a row that is encrypted.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    to: String,
    languages: Languages,
    values: Values,
}

/// A mail in the outbox, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// The id of the mail.
    pub id: Uuid,
    /// The name of the kind of the mail.
    pub kind: String,
    /// The recipient, unless the mail was encrypted under another master secret.
    pub to: Option<String>,
    /// When the mail was queued.
    pub queued_at: DateTime<Utc>,
    /// The number of failed attempts.
    pub attempts: u64,
    /// When the next attempt is due. `None` if the delivery failed permanently.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the delivery failed permanently.
    pub failed_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Why the mail settings are not valid.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    /// The sender is not valid.
    #[error("mail_from")]
    Sender(#[from] message::AddressError),
    /// The certificates for the mail server can't be used.
    #[error(transparent)]
    CaFile(#[from] smtp::CaFileError),
    /// The templates can't be used.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
}

/// Why a mail can't be queued.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("failed to encrypt a mail for the outbox")]
    Encrypt(#[from] DecryptError),
    #[error("failed to serialize the values of a mail")]
    Values(#[from] serde_json::Error),
}

impl Mail {
    /// Creates the service. `db` and `leases` must use the connections that are reserved for background jobs.
    ///
    /// # Errors
    ///
    /// [`MailSetupError`].
    pub fn new(
        db: Db,
        clock: Clock,
        leases: Leases,
        secret: &MasterSecret,
        options: MailOptions,
    ) -> Result<Self, MailSetupError> {
        let (sender, transport, templates) = (options.sender()?, options.transport()?, options.templates()?);
        let vault = Vault::from_secret(secret, Purpose::Outbox);
        let mailboxes = MacKey::from_secret(secret, Purpose::Mailboxes);
        let queued = Notify::new();
        Ok(Self(Arc::new(Inner {
            db,
            clock,
            leases,
            vault,
            mailboxes,
            options,
            sender,
            transport,
            templates,
            queued,
        })))
    }

    /// Returns whether the settings enable mails of this kind.
    pub fn is_sent(&self, kind: MailKind) -> bool {
        kind != MailKind::NewDevice || self.0.options.new_device
    }

    /// Queues a mail in the caller's transaction. The mail is sent after the commit.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn queue(&self, tx: &Tx, mail: NewMail) -> Result<Queued, StoreError> {
        let Inner { clock, mailboxes, options, sender, queued, .. } = &*self.0;
        if !self.is_sent(mail.kind) {
            return Ok(Queued::TurnedOff);
        }
        let now = clock.shared_now();
        if let Some(max_per_day) = options.max_per_day {
            let address = identifiers::canonical(&mail.to);
            let mailbox = mailboxes.tag(address.as_bytes());
            if !budgets::spend(tx, mailbox.as_ref(), mail.kind, now, max_per_day).await? {
                tracing::info!(
                    kind = mail.kind.name(),
                    "a mail was not queued: the limit for its mailbox or the daily limit for all mails is reached"
                );
                return Ok(Queued::OverBudget);
            }
        }
        let id = clock.new_id();
        let sealed = Sealed { to: mail.to, languages: mail.languages, values: mail.values.sanitized() };
        let sealed = self.seal(id, &sealed).map_err(|error| {
            tracing::error!(causes = error_chain(&error), "failed to queue a mail");
            StoreError::internal("failed to encrypt a mail for the outbox")
        })?;
        let row = NewRow {
            id,
            user: mail.user,
            kind: mail.kind,
            message_id: sender.message_id(id),
            sealed,
            queued_at: now,
        };
        store::insert(tx, &row).await?;
        queued.notify_one();
        Ok(Queued::Accepted)
    }

    /// Returns the mails that wait for their delivery or whose delivery failed permanently, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<QueuedMail>, StoreError> {
        let rows = self.0.db.read((), |tx, ()| store::list(tx, LIST_MAX).boxed()).await?;
        Ok(rows.into_iter().map(|row| self.queued_mail(row)).collect())
    }

    /// Returns up to `limit` mails of a user that wait for their delivery or whose delivery failed
    /// permanently. Only mails with an id after `after` are returned, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn list_of(
        &self,
        tx: &Tx,
        user: Uuid,
        after: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<QueuedMail>, StoreError> {
        let rows = store::list_of(tx, user, after.unwrap_or_default(), limit).await?;
        Ok(rows.into_iter().map(|row| self.queued_mail(row)).collect())
    }

    /// Deletes mails whose delivery failed permanently more than a week ago, and budgets without recent
    /// mails.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.0.clock.shared_now();
        let failed_before = (now - FAILED_RETENTION).timestamp_millis();
        let (oldest, first_day) = budgets::retention(now);
        let db = &self.0.db;
        db.sweep(failed_before, SWEEP_BATCH, |tx, at| store::sweep_failed(tx, *at, SWEEP_BATCH).boxed())
            .await?;
        db.sweep(oldest, SWEEP_BATCH, |tx, at| store::sweep_budgets(tx, *at, SWEEP_BATCH).boxed()).await?;
        db.write(first_day, |tx, day| store::sweep_days(tx, *day).boxed()).await?;
        Ok(())
    }

    /// Delivers mails until the future is dropped.
    pub async fn run(&self) {
        worker::Worker::new(self).run().await;
    }

    fn seal(&self, id: Uuid, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        Ok(self.0.vault.seal(&id.to_string(), &serde_json::to_vec(sealed)?)?)
    }

    /// Decrypts a row. Returns `None` if the row was encrypted under an unknown master secret.
    fn open(&self, row: &Row) -> Option<Sealed> {
        let plain = self.0.vault.open(&row.id.to_string(), &row.sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    fn queued_mail(&self, row: Row) -> QueuedMail {
        let to = self.open(&row).map(|sealed| sealed.to);
        QueuedMail {
            id: row.id,
            kind: row.kind,
            to,
            queued_at: row.queued_at,
            attempts: u64::try_from(row.attempts).unwrap_or_default(),
            next_attempt_at: row.next_attempt_at,
            failed_at: row.failed_at,
            last_error: row.last_error,
        }
    }
}

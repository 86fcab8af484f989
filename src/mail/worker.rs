//! The worker that delivers the mails of the outbox.
//!
//! The worker polls every 2 seconds, because another replica has possibly queued a mail. When this replica
//! queues a mail, the worker polls immediately. Only the replica that holds the lease delivers mails. Each
//! mail is deleted after its delivery. If the server crashes between the delivery and the deletion, the mail
//! is sent once more with the same `Message-ID`. A failed attempt is repeated after 30 s, then at doubling
//! intervals up to 1 h, until the mail is three days old. If the mail server is unavailable for one mail of a
//! batch, the remaining mails of the batch are postponed without an attempt. The delay of each mail depends
//! on the number of its own failed attempts. If the mail server permanently rejects the recipient or the
//! mail, the delivery has failed permanently.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::message::{MessageError, Outgoing};
use super::rows::{Attempts, Row};
use super::smtp::SendError;
use super::smtp_stream::Dialogue;
use super::transport::Session;
use super::{Mail, MailKind, Values, store};
use crate::db::StoreError;
use crate::error_chain::error_chain;
use crate::metrics;

/// How often to look for mails that other replicas queued or whose next attempt is due.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// The first wait after a mail was queued. The transaction of the mail is possibly not committed yet, so the
/// worker polls again after this time. The wait doubles up to [`POLL_EVERY`].
const COMMIT_WAIT: Duration = Duration::from_millis(5);
/// The maximum number of mails that are read at once.
const BATCH: u64 = 100;
/// The lease of the worker.
const LEASE: &str = "mail";
/// How long the lease of a replica that has crashed prevents the other replicas from sending mails.
const LEASE_TTL: TimeDelta = TimeDelta::seconds(10);
/// How often the lease is extended while mails are sent.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// The number of polls without a mail after which the connection is closed.
const IDLE_POLLS_MAX: u32 = 12;
/// The delay of the first retry.
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(30);
/// The maximum delay of a retry.
const RETRY_MAX: TimeDelta = TimeDelta::hours(1);
/// The age at which the delivery of a mail fails permanently.
const GIVE_UP: TimeDelta = TimeDelta::days(3);
/// The maximum length of a stored error, in characters.
const ERROR_MAX: usize = 500;

/// Why an attempt failed.
#[derive(Debug)]
enum Failure {
    /// Another attempt can succeed.
    Transient(String),
    /// No attempt can succeed.
    Permanent(String),
    /// No mail can be sent at the moment.
    NoServer(String),
    /// The mail was not tried, because the server was unavailable for another mail.
    NotTried(String),
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Server(reason) => Self::NoServer(reason),
            SendError::Broken(reason) | SendError::Refused(reason) => Self::Transient(reason),
            SendError::RefusedForGood(reason) => Self::Permanent(reason),
        }
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        Self::Permanent(error_chain(&error))
    }
}

/// Delivers mails.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    mail: &'a Mail,
    session: Session<'a>,
    /// The number of polls since the last mail.
    idle_polls: u32,
}

impl<'a> Worker<'a> {
    pub(super) fn new(mail: &'a Mail) -> Self {
        let session = Session::new(&mail.0.transport, Dialogue::default());
        Self { mail, session, idle_polls: 0 }
    }

    /// Delivers mails until the future is dropped.
    pub(super) async fn run(mut self) {
        let mut wait = POLL_EVERY;
        loop {
            let was_notified = timeout(wait, self.mail.0.queued.notified()).await.is_ok();
            match self.deliver_due().await {
                Ok(true) => wait = COMMIT_WAIT,
                // The transaction of the new mail is possibly not committed yet.
                Ok(false) if was_notified => wait = COMMIT_WAIT,
                Ok(false) => wait = (wait * 2).min(POLL_EVERY),
                Err(error) => {
                    tracing::debug!(causes = error_chain(&error), "failed to read or write the outbox");
                    sleep(POLL_EVERY).await;
                }
            }
        }
    }

    /// Delivers the mails that are due, if this replica can acquire the lease. Returns true if this replica
    /// held the lease until no mail was due.
    async fn deliver_due(&mut self) -> Result<bool, StoreError> {
        let mut is_holder = false;
        loop {
            let mut rows = self.due().await?;
            if rows.is_empty() {
                self.idle_polls += 1;
                if self.idle_polls == IDLE_POLLS_MAX {
                    self.session.close().await;
                }
                if is_holder {
                    self.mail.0.leases.release(LEASE).await?;
                }
                return Ok(is_holder);
            }
            if !self.mail.0.leases.acquire(LEASE, LEASE_TTL).await? {
                return Ok(false);
            }
            if !is_holder {
                is_holder = true;
                // The former holder of the lease has possibly sent some of these mails, so read the outbox
                // again.
                rows = self.due().await?;
            }
            self.idle_polls = 0;
            let mail = self.mail;
            tokio::select! {
                delivered = self.deliver_all(rows) => delivered?,
                () = keep_lease(mail) => {}
            }
        }
    }

    async fn due(&self) -> Result<Vec<Row>, StoreError> {
        let now = self.mail.0.clock.shared_now().timestamp_millis();
        self.mail.0.db.read(now, |tx, now| store::due(tx, *now, BATCH).boxed()).await
    }

    async fn deliver_all(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut no_server: Option<String> = None;
        for row in rows {
            if let Some(reason) = &no_server {
                self.failed(&row, Failure::NotTried(reason.clone())).await?;
                continue;
            }
            let delivered = self.deliver(&row).await;
            metrics::mail_attempted(delivered.is_ok());
            match delivered {
                Ok(()) => self.delivered(row.id).await?,
                Err(failure) => {
                    if let Failure::NoServer(reason) = &failure {
                        tracing::warn!(
                            error = reason,
                            "the mail server is unreachable or accepts no mails; the mails wait for the next attempt"
                        );
                        no_server = Some(reason.clone());
                    }
                    self.failed(&row, failure).await?;
                }
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, row: &Row) -> Result<(), Failure> {
        let outgoing = self.render(row)?;
        if let Some(path) = self.session.send(row.id, outgoing).await? {
            let file = path.display();
            tracing::info!(kind = row.kind, %file, "wrote a mail to a file, because smtp_url is not set");
        } else {
            tracing::info!(id = %row.id, kind = row.kind, "sent a mail");
        }
        Ok(())
    }

    fn render(&self, row: &Row) -> Result<Outgoing, Failure> {
        let inner = &self.mail.0;
        let sealed = self.mail.open(row).ok_or_else(|| {
            // Another replica can have that secret and send the mail.
            Failure::Transient("the mail is encrypted under another master secret".to_owned())
        })?;
        let kind: MailKind = row.kind.parse().map_err(|_| {
            Failure::Transient("this version of the server does not know the kind of the mail".to_owned())
        })?;
        let link = sealed.values.link.map(|path| format!("{}{path}", inner.options.public_url));
        let values = Values { link, ..sealed.values };
        let content = inner.templates.render(kind, &sealed.languages, &values);
        Ok(inner.sender.message(&sealed.to, &row.message_id, row.queued_at, content)?)
    }

    async fn delivered(&self, id: Uuid) -> Result<(), StoreError> {
        self.mail.0.db.write(id, |tx, id| store::delete(tx, std::slice::from_ref(id)).boxed()).await
    }

    async fn failed(&self, row: &Row, failure: Failure) -> Result<(), StoreError> {
        let clock = &self.mail.0.clock;
        let now = clock.shared_now();
        let id = row.id;
        let is_tried = !matches!(failure, Failure::NotTried(_));
        let attempts = Attempts { before: row.attempts, after: row.attempts + i64::from(is_tried) };
        let next = match &failure {
            // The delay depends on the mail's own attempts, not on those of the mail whose failure ended the batch.
            Failure::Transient(_) | Failure::NoServer(_) | Failure::NotTried(_) => {
                Some(now + retry_delay(row.attempts))
            }
            Failure::Permanent(_) => None,
        };
        // After a jump of the clock, the age of the mail is unreliable, so try again.
        let next = next.filter(|next| *next - row.queued_at <= GIVE_UP || !clock.is_steady());
        let (Failure::Transient(error)
        | Failure::Permanent(error)
        | Failure::NoServer(error)
        | Failure::NotTried(error)) = failure;
        let error: String = error.chars().filter(|c| !c.is_control()).take(ERROR_MAX).collect();
        if let Some(next) = next {
            if is_tried {
                let attempts = attempts.after;
                tracing::info!(%id, kind = row.kind, attempts, error, "failed to send a mail; a retry is scheduled");
            }
            return self.postpone(id, attempts, next, error).await;
        }
        tracing::error!(
            %id,
            kind = row.kind,
            attempts = attempts.after,
            error,
            "failed to send a mail; no retry is scheduled"
        );
        let input = (id, attempts, now.timestamp_millis(), error);
        let failed = self.mail.0.db.write(input, |tx, (id, attempts, now, error)| {
            store::fail(tx, *id, *attempts, *now, error).boxed()
        });
        failed.await
    }

    async fn postpone(
        &self,
        id: Uuid,
        attempts: Attempts,
        next: DateTime<Utc>,
        error: String,
    ) -> Result<(), StoreError> {
        let input = (id, attempts, next.timestamp_millis(), error);
        self.mail
            .0
            .db
            .write(input, |tx, (id, attempts, next, error)| {
                store::postpone(tx, *id, *attempts, *next, error).boxed()
            })
            .await
    }
}

/// Extends the lease until the future is dropped, or until another replica holds the lease.
async fn keep_lease(mail: &Mail) {
    loop {
        sleep(RENEW_EVERY).await;
        match mail.0.leases.acquire(LEASE, LEASE_TTL).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(causes = error_chain(&error), "failed to extend the lease for sending mails");
            }
        }
    }
}

/// Returns the delay before the next attempt, after `attempts` earlier failures and the current failure.
fn retry_delay(attempts: i64) -> TimeDelta {
    let doublings = i32::try_from(attempts.clamp(0, 20)).unwrap_or(20);
    FIRST_RETRY
        .checked_mul(2_i32.pow(u32::try_from(doublings).unwrap_or(20)))
        .unwrap_or(RETRY_MAX)
        .min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_before_a_retry_begins_at_30_seconds_and_doubles_up_to_an_hour() {
        let secs: Vec<i64> = (0..9).map(|attempts| retry_delay(attempts).num_seconds()).collect();
        assert_eq!(secs, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(retry_delay(i64::MAX), RETRY_MAX);
    }
}

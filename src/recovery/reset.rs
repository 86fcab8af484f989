//! Sets a new password with a mailed code or link.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Recovery, RecoveryError, Requester};
use crate::accounts;
use crate::audit::{self, Event};
use crate::db::Tx;
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{self, Flow, Proof, Purpose};
use crate::mail::{MailKind, NewMail, Values};
use crate::throttle::limits;
use crate::tokens::Revocation;

const PURPOSES: &[Purpose] = &[Purpose::ResetPassword, Purpose::SecureAccount];

/// The input of the transaction that resets a password.
#[derive(Clone)]
struct Reset {
    recovery: Recovery,
    flow: Flow,
    user: Uuid,
    was_confirmed: bool,
    password_hash: String,
    /// The mail that reports the change.
    report: Option<NewMail>,
    event: NewEvent,
    now: DateTime<Utc>,
}

impl Recovery {
    /// Sets a new password, ends all sessions and all other flows, and confirms the address. The second
    /// factor stays, unless the address was never confirmed. In that case, all credentials that were set
    /// before are removed.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::InvalidCode`], [`RecoveryError::Throttled`], [`RecoveryError::Policy`], or a wrapped
    /// [`accounts::AccountsError::Overloaded`].
    pub async fn reset(
        &self,
        proof: Proof,
        new_password: &str,
        client: Requester,
    ) -> Result<(), RecoveryError> {
        // A wrong code or link counts as a wrong password from this IP address.
        let attempt = self.throttle.check(limits::of_address(client.address)).await?;
        let flow = match self.check(&proof, PURPOSES, true).await {
            Err(RecoveryError::InvalidCode) => {
                attempt.failed().await?;
                return Err(RecoveryError::InvalidCode);
            }
            checked => checked?,
        };
        let id = flow.user.ok_or(RecoveryError::InvalidCode)?;
        let user = self.accounts.find(id).await?;
        let password_hash = self.hash(&user, new_password).await?;
        let now = self.clock.now();
        let report = user.email.clone().map(|to| NewMail {
            to,
            user: Some(id),
            kind: MailKind::PasswordChanged,
            languages: client.languages.preferring(user.locale.as_deref()),
            values: Values { at: Some(now), ..Values::default() },
        });
        // A flow without an address is a link from an operator. Such a link proves no access to a mailbox, so
        // the credentials that were set before stay.
        let was_confirmed = user.email_verified || flow.address.is_none();
        let reset = Reset {
            recovery: self.clone(),
            flow,
            user: id,
            was_confirmed,
            password_hash,
            report,
            event: NewEvent::new(&self.clock, id, EventKind::PasswordReset),
            now,
        };
        let ended = self.db.write(reset, |tx, reset| reset.apply(tx).boxed()).await?;
        self.sessions.apply_ended(id, &ended);
        audit::record(Event::PasswordReset, Some(id), None);
        Ok(())
    }
}

impl Reset {
    async fn apply(&self, tx: &Tx) -> Result<Vec<Revocation>, RecoveryError> {
        let Self { recovery, flow, user, password_hash, now, .. } = self;
        if !recovery.flows.close(tx, flow).await? {
            return Err(RecoveryError::InvalidCode);
        }
        if let Some(address) = &flow.address
            && !accounts::confirm_address(tx, *user, address, *now).await?
        {
            return Err(RecoveryError::InvalidCode);
        }
        if let Some(report) = &self.report {
            recovery.flows.notify(tx, report.clone()).await?;
        }
        events::record(tx, &self.event).await?;
        if !self.was_confirmed {
            let claimed = self.event.clone().followed_by(&recovery.clock, EventKind::AccountClaimed);
            events::record(tx, &claimed).await?;
            return Ok(recovery.sessions.drop_credentials(tx, *user, password_hash, *now).await?);
        }
        accounts::replace_password(tx, *user, None, password_hash, *now).await?;
        flows::end_all(tx, *user, *now).await?;
        Ok(recovery.sessions.end_every(tx, *user).await?)
    }
}

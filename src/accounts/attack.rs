//! Counts failed logins. If an account has very many failed logins, records a security event and sends a mail
//! to the owner of the account, at most once a day.
//!
//! The failures from all client addresses on all replicas are counted in the database ([`crate::throttle`]).
//! If there are too many failures for a name, a conditional update marks the counter of the name as alerted.
//! The update succeeds on one replica only. This replica stores the report in the same transaction, so that a
//! crash loses no report. Failures for the email address and for the username of an account are counted
//! separately, and each counter can cause a report. Another conditional update, on a counter of the reports
//! about the account, prevents a second report on the same day.

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Accounts, User, store};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{Delivery, Flows, NewFlow, Purpose};
use crate::mail::{Languages, Values};
use crate::throttle::{Attempt, Failure, Throttle, ThrottleError, limits};

/// A failed login to be counted.
struct FailedLogin {
    throttle: Throttle,
    flows: Flows,
    failure: Failure,
    /// The account with the identifier of the login, if there is one.
    owner: Option<Uuid>,
    /// The security event that is recorded if there are too many failures.
    event: NewEvent,
}

impl Accounts {
    /// Counts a failed login, and reports an attack on the account to its owner.
    pub(super) async fn count_failure(
        &self,
        attempt: Attempt,
        owner: Option<&User>,
    ) -> Result<(), ThrottleError> {
        let Some(failure) = attempt.failure() else { return Ok(()) };
        let owner = owner.map(|user| user.id);
        let failed = FailedLogin {
            throttle: self.throttle.clone(),
            flows: self.flows.clone(),
            failure,
            owner,
            event: NewEvent::new(&self.clock, owner.unwrap_or_default(), EventKind::AttackDetected),
        };
        let reported: Result<bool, ThrottleError> =
            self.db.write(failed, |tx, failed| failed.count(tx).boxed()).await;
        // Drop the attempt only after the failure is counted: until then, the attempt must keep its places in
        // `throttle::gate`.
        drop(attempt);
        if reported? {
            audit::record(Event::UnderAttack, owner, None);
        }
        Ok(())
    }
}

impl FailedLogin {
    /// Counts the failure. Returns true if an attack was reported.
    async fn count(&self, tx: &Tx) -> Result<bool, ThrottleError> {
        let is_alert = self.throttle.count_failure(tx, &self.failure).await?;
        let Some(owner) = self.owner.filter(|_| is_alert) else { return Ok(false) };
        // The account was possibly deleted since the login.
        let Some(user) = store::find(tx, owner).await? else { return Ok(false) };
        if self.throttle.try_take(tx, &limits::of_attack_report(owner)).await?.is_some() {
            return Ok(false);
        }
        events::record(tx, &self.event).await?;
        self.mail(tx, user).await?;
        Ok(true)
    }

    /// Mails a link with which the owner can choose a new password.
    async fn mail(&self, tx: &Tx, user: User) -> Result<(), StoreError> {
        let Some(to) = user.email else { return Ok(()) };
        let mut new = NewFlow::new(Purpose::SecureAccount, Some(user.id), "");
        new.address = Some(to.clone());
        // Ignore the languages of the request, because the attacker has sent the request.
        let languages = Languages::default().preferring(user.locale.as_deref());
        let values = Values { count: Some(limits::ACCOUNT.free.into()), ..Values::default() };
        let delivery = Delivery::Code { to, languages, values };
        self.flows.send(tx, &self.flows.begin(new), &delivery).await?;
        Ok(())
    }
}

//! Counts failed logins, and reports very many of them to the owner of the account: a security event and a mail, at most
//! once a day.
//!
//! The failures of all addresses and replicas are counted in the database ([`crate::throttle`]). The conditional update
//! that finds too many of them also decides which replica reports, and the report is stored in its transaction, so a
//! crash loses none. An account can be attacked under its address and its username; another conditional update
//! prevents a second report.

use futures_util::FutureExt;
use uuid::Uuid;

use super::{Accounts, User, store};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{Delivery, Flows, NewFlow, Purpose};
use crate::mail::{Languages, Values};
use crate::throttle::{Attempt, Failure, Throttle, limits};

/// A failed login to be counted.
struct FailedLogin {
    throttle: Throttle,
    flows: Flows,
    failure: Failure,
    /// The account, if the name has one.
    owner: Option<Uuid>,
    /// What is recorded if there are too many failures.
    event: NewEvent,
}

impl Accounts {
    /// Counts a failed login, and reports an attack on the account to its owner.
    pub(super) async fn count_failure(
        &self,
        attempt: Attempt,
        owner: Option<&User>,
    ) -> Result<(), StoreError> {
        let Some(failure) = attempt.failure() else { return Ok(()) };
        let owner = owner.map(|user| user.id);
        let failed = FailedLogin {
            throttle: self.throttle.clone(),
            flows: self.flows.clone(),
            failure,
            owner,
            event: NewEvent::new(&self.clock, owner.unwrap_or_default(), EventKind::AttackDetected),
        };
        let reported: Result<bool, StoreError> =
            self.db.write(failed, |tx, failed| failed.count(tx).boxed()).await;
        // Hold the place at the gate until the failure is counted.
        drop(attempt);
        if reported? {
            audit::record(Event::UnderAttack, owner, None);
        }
        Ok(())
    }
}

impl FailedLogin {
    /// Counts the failure. Returns true if an attack was reported.
    async fn count(&self, tx: &Tx) -> Result<bool, StoreError> {
        let is_alert = self.throttle.count_failure(tx, &self.failure).await?;
        let Some(owner) = self.owner.filter(|_| is_alert) else { return Ok(false) };
        // The account may have been deleted since the login.
        let Some(user) = store::find(tx, owner).await? else { return Ok(false) };
        if self.throttle.try_take(tx, &limits::of_attack_report(owner)).await?.is_some() {
            return Ok(false);
        }
        events::record(tx, &self.event).await?;
        self.mail(tx, user).await?;
        Ok(true)
    }

    /// Mails a link with which the owner chooses another password.
    async fn mail(&self, tx: &Tx, user: User) -> Result<(), StoreError> {
        let Some(to) = user.email else { return Ok(()) };
        let mut new = NewFlow::new(Purpose::SecureAccount, Some(user.id), "");
        new.address = Some(to.clone());
        // Ignore the languages of the request, because the attacker has sent it.
        let languages = Languages::default().preferring(user.locale.as_deref());
        let values = Values { count: Some(limits::ACCOUNT.free.into()), ..Values::default() };
        let delivery = Delivery::Code { to, languages, values };
        self.flows.send(tx, &self.flows.begin(new), &delivery).await?;
        Ok(())
    }
}

//! Changes the address of an account, and undoes a change.
//!
//! The new address is confirmed before it takes effect. The server mails the old address when the change is
//! requested, and again when the new address takes effect. The second mail has a link that restores the old
//! address within 7 days. If the old address was confirmed, no other account can take it during these 7 days.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Recovery, RecoveryError, Requester};
use crate::accounts::{self, AccountsError, Authorization, Email, User};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{self, BegunFlow, Delivery, Flow, NewFlow, Proof, Purpose};
use crate::mail::{Languages, MailKind, NewMail, Values};
use crate::tokens::Revocation;

/// The input of the transaction that stores a request for a change.
#[derive(Clone)]
struct ChangeRequest {
    recovery: Recovery,
    authorization: Authorization,
    client: IpAddr,
    flow: BegunFlow,
    delivery: Delivery,
    /// The mail to the old address.
    report: Option<NewMail>,
    event: NewEvent,
}

impl Recovery {
    /// Mails a code to the new address of a user who has authenticated recently. If another account has the
    /// new address, the owner of that account gets a mail without a code instead, and the response is the
    /// same.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Throttled`], or a wrapped [`AccountsError::NoSuchUser`].
    pub async fn request_change(
        &self,
        authorization: Authorization,
        email: Email,
        client: Requester,
    ) -> Result<Uuid, RecoveryError> {
        let user = self.accounts.find(authorization.user()).await.map_err(RecoveryError::Accounts)?;
        let languages = client.languages.preferring(user.locale.as_deref());
        let taken = self.accounts.find_by_email(&email).await?.filter(|other| other.id != user.id);
        let input = (self.flows.clone(), email.clone(), user.id);
        let is_reserved: Result<bool, StoreError> = self
            .db
            .read(input, |tx, (flows, email, user)| {
                flows.is_reserved(tx, email.canonical(), Some(*user)).boxed()
            })
            .await;
        let to = email.as_entered().to_owned();
        let delivery = match taken.map(|other| (other.email.clone(), other)) {
            Some((Some(to), other)) => Delivery::Instead(NewMail {
                to,
                user: Some(other.id),
                kind: MailKind::AddressTaken,
                languages: languages.clone().preferring(other.locale.as_deref()),
                values: Values::default(),
            }),
            Some((None, _)) => Delivery::Nothing,
            None if is_reserved? => Delivery::Nothing,
            None => {
                let values = Values::default();
                Delivery::Code { to: to.clone(), languages: languages.clone(), values }
            }
        };
        let mut new = NewFlow::new(Purpose::ChangeAddress, Some(user.id), email.canonical());
        new.address = Some(to.clone());
        new.is_bound = true;
        let flow = self.flows.begin(new);
        let id = flow.id;
        let report = self.report(&user, MailKind::AddressChangeRequested, to, languages);
        let event = NewEvent::new(&self.clock, user.id, EventKind::EmailChangeRequested);
        let recovery = self.clone();
        let request =
            ChangeRequest { recovery, authorization, client: client.address, flow, delivery, report, event };
        let stored = self.db.write(request, |tx, request| request.store(tx).boxed()).await;
        match stored {
            Err(RecoveryError::Store(StoreError::ForeignKeyViolation(_))) => {
                Err(RecoveryError::Accounts(AccountsError::NoSuchUser))
            }
            stored => stored.map(|()| id),
        }
    }

    /// Returns a mail to the current address of a user. The mail contains the address `other`. Returns `None`
    /// if the user has no address.
    fn report(&self, user: &User, kind: MailKind, other: String, languages: Languages) -> Option<NewMail> {
        let values = Values { address: Some(other), at: Some(self.clock.now()), ..Values::default() };
        let to = user.email.clone()?;
        Some(NewMail { to, user: Some(user.id), kind, languages, values })
    }

    /// Sets the confirmed new address of a user, and mails the old address a link that undoes the change.
    /// Sessions stay valid. The codes and links that were mailed earlier become invalid, except the links
    /// that undo a change of address or end a session.
    pub(super) async fn change(
        &self,
        tx: &Tx,
        user: Uuid,
        address: &str,
        languages: &Languages,
        now: DateTime<Utc>,
    ) -> Result<(), RecoveryError> {
        let email: Email = address.parse().map_err(|_| RecoveryError::InvalidCode)?;
        let before = accounts::find(tx, user).await?;
        match accounts::change_address(tx, user, &email, true, now).await {
            // Another account has taken the address in the meantime.
            Err(AccountsError::IdentifierTaken) => return Err(RecoveryError::InvalidCode),
            changed => changed?,
        }
        if self.flows.is_reserved(tx, email.canonical(), Some(user)).await? {
            return Err(RecoveryError::InvalidCode);
        }
        flows::end_all(tx, user, now).await?;
        let Some(old) = before.email.as_deref().and_then(|old| old.parse::<Email>().ok()) else {
            return Ok(());
        };
        if old.canonical() == email.canonical() {
            return Ok(());
        }
        let mut new = NewFlow::new(Purpose::UndoChange, Some(user), old.canonical());
        new.address.clone_from(&before.email);
        new.was_verified = before.email_verified;
        let to = old.as_entered().to_owned();
        let values = Values { address: Some(address.to_owned()), ..Values::default() };
        let languages = languages.clone().preferring(before.locale.as_deref());
        let delivery = Delivery::Code { to, languages, values };
        self.flows.send(tx, &self.flows.begin(new), &delivery).await?;
        Ok(())
    }

    /// Restores the former address of an account, ends all sessions of the account, and invalidates its
    /// codes.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::InvalidCode`].
    pub async fn undo_change(&self, token: String) -> Result<(), RecoveryError> {
        // The nil id is a placeholder, because only the transaction finds the user of the token.
        let event = NewEvent::new(&self.clock, Uuid::nil(), EventKind::EmailChangeUndone);
        let input = (self.clone(), Proof::Token(token), event);
        let undone = self
            .db
            .write(input, |tx, (recovery, proof, event)| recovery.undo(tx, proof, event).boxed())
            .await;
        let (user, ended) = undone?;
        self.sessions.apply_ended(user, &ended);
        audit::record(Event::AddressChangeUndone, Some(user), None);
        Ok(())
    }

    async fn undo(
        &self,
        tx: &Tx,
        proof: &Proof,
        event: &NewEvent,
    ) -> Result<(Uuid, Vec<Revocation>), RecoveryError> {
        let found = self.flows.find(tx, proof, &[Purpose::UndoChange]).await?;
        let undo: Flow = found.ok_or(RecoveryError::InvalidCode)?;
        let email = undo.address.as_deref().and_then(|address| address.parse::<Email>().ok());
        let (Some(user), Some(email)) = (undo.user, email) else { return Err(RecoveryError::InvalidCode) };
        if !self.flows.close(tx, &undo).await? {
            return Err(RecoveryError::InvalidCode);
        }
        let now = self.clock.now();
        match accounts::change_address(tx, user, &email, undo.was_verified, now).await {
            Err(AccountsError::IdentifierTaken) => return Err(RecoveryError::InvalidCode),
            changed => changed?,
        }
        flows::end_all(tx, user, now).await?;
        self.flows.end_later_undos(tx, user, &undo).await?;
        events::record(tx, &event.clone().of(user)).await?;
        Ok((user, self.sessions.end_every(tx, user).await?))
    }
}

impl ChangeRequest {
    async fn store(&self, tx: &Tx) -> Result<(), RecoveryError> {
        let flows = &self.recovery.flows;
        self.authorization.require_lock(tx).await.map_err(RecoveryError::Accounts)?;
        self.recovery.count_request(tx, self.client).await?;
        flows.send(tx, &self.flow, &self.delivery).await?;
        if let Some(report) = &self.report {
            flows.notify(tx, report.clone()).await?;
        }
        Ok(events::record(tx, &self.event).await?)
    }
}

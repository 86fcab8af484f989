//! Sign-up: creates an account and its first session in one transaction, with the mail that confirms the address.
//!
//! If users must confirm their address before they can log in, a sign-up creates no session, and its response
//! is the same whether or not an account has the address. The owner of a taken address gets a mail. An
//! account whose address was never confirmed may belong to a stranger, so a later sign-up with the address
//! gets a code too. This code gives the account the password of the later sign-up, and removes all
//! credentials that were set before.

use std::net::IpAddr;

use futures_util::FutureExt;
use uuid::Uuid;

use super::start;
use super::{Device, Grant, Sessions, SessionsError};
use crate::accounts::{self, AccountsError, Email, HashedUser, NewUser, User};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, DeviceInfo, EventKind};
use crate::flows::{BegunFlow, Delivery, NewFlow, Purpose};
use crate::invites::{self, InviteCode};
use crate::mail::{Languages, MailKind, NewMail, Queued, Values};
use crate::tokens::Scopes;

/// The maximum number of attempts to store a sign-up. An attempt fails if an identifier is taken.
const ATTEMPTS: u32 = 3;

/// Whether the API creates accounts, and under which conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignupMode {
    /// The API creates accounts, each with a session.
    Open,
    /// The API creates accounts without a session; the address must be confirmed first.
    ConfirmFirst,
    /// The API creates accounts, each with a session, if the client has an invitation code.
    Invite,
    /// The API creates no accounts.
    Closed,
}

/// The client of a sign-up.
#[derive(Debug)]
pub struct SigningUp {
    /// The device of the client.
    pub device: Device,
    /// The IP address of the client.
    pub address: IpAddr,
    /// The invitation code, as entered.
    pub invite_code: Option<String>,
}

/// The result of a sign-up.
#[derive(Debug, Clone)]
pub enum SignedUp {
    /// The account and its first session.
    Granted(Box<Grant>),
    /// The flow that confirms the address. The account may have existed before.
    Pending(Uuid),
}

/// A flow that confirms an address, and the mail of the flow. Both are ready to be stored.
type Confirmation = (BegunFlow, Delivery);

impl Sessions {
    /// Returns whether the API creates accounts, and under which conditions.
    pub fn signup_mode(&self) -> SignupMode {
        self.signup
    }

    /// Creates an account. Also creates its first session or, if the address must be confirmed first, a flow
    /// that confirms the address.
    ///
    /// # Errors
    ///
    /// [`SessionsError::SignupClosed`], [`SessionsError::InviteRequired`], or a wrapped
    /// [`AccountsError::IdentifierTaken`] or [`AccountsError::Throttled`].
    pub async fn sign_up(&self, new: NewUser, client: SigningUp) -> Result<SignedUp, SessionsError> {
        if self.signup == SignupMode::Closed {
            return Err(SessionsError::SignupClosed);
        }
        let (email, new_locale) = (new.email.clone(), new.locale.clone());
        let attempt = self.accounts.begin_sign_up(client.address).await?;
        let SigningUp { device, invite_code, .. } = client;
        let languages = device.languages.clone().preferring(new_locale.as_deref());
        // Check the invitation code before the identifiers, so that a client without a code cannot learn
        // which identifiers are taken.
        let invite = if self.signup == SignupMode::Invite {
            let Some(invite) = self.usable_invite(invite_code.as_deref()).await? else {
                // Don't count a request without a code as a failure: possibly the app did not know before this
                // response that a code is required.
                if invite_code.is_some() {
                    attempt.failed().await.map_err(AccountsError::from)?;
                }
                return Err(SessionsError::InviteRequired);
            };
            Some(invite)
        } else {
            None
        };
        let hashed = self.accounts.hash_password(new).await?;
        match (self.signup, email) {
            (SignupMode::ConfirmFirst, Some(email)) => {
                Ok(SignedUp::Pending(self.sign_up_pending(hashed, email, device, languages).await?))
            }
            (SignupMode::ConfirmFirst, None) => Err(SessionsError::EmailRequired),
            (_, email) => {
                // Boxed, because the future contains a large transaction.
                let granted = Box::pin(self.sign_up_granted(hashed, email, device, languages, invite));
                match granted.await {
                    Ok(grant) => Ok(SignedUp::Granted(Box::new(grant))),
                    Err(error) => {
                        if matches!(error, SessionsError::Accounts(AccountsError::IdentifierTaken)) {
                            attempt.failed().await.map_err(AccountsError::from)?;
                        }
                        Err(error)
                    }
                }
            }
        }
    }

    /// Returns the invitation code if it can be used.
    async fn usable_invite(&self, text: Option<&str>) -> Result<Option<InviteCode>, StoreError> {
        let Some(code) = text.and_then(InviteCode::parse) else { return Ok(None) };
        let input = (code.clone(), self.clock.now());
        let is_usable = self.db.read(input, |tx, (code, now)| invites::is_usable(tx, code, *now).boxed());
        Ok(is_usable.await?.then_some(code))
    }

    async fn sign_up_granted(
        &self,
        hashed: HashedUser,
        email: Option<Email>,
        device: Device,
        languages: Languages,
        invite: Option<InviteCode>,
    ) -> Result<Grant, SessionsError> {
        let user = hashed.user().clone();
        let confirmation = email.as_ref().map(|email| self.confirmation(&user, email, None, languages));
        let flow = confirmation.as_ref().map(|(flow, _)| flow.id);
        let mut session = self.new_session(user.id, Scopes::all(), device);
        let now = session.created_at;
        let mut grant = self.issue_grant(&mut session, user, now)?;
        let new = self.with_events(session, EventKind::Signup, &grant.user);
        let input = (self.clone(), hashed, new, confirmation, email, invite);
        let queued = self
            .db
            .write(input, move |tx, (sessions, hashed, new, confirmation, email, invite)| {
                async move {
                    // Redeem the code first, so that concurrent sign-ups with the same code wait here.
                    if let Some(code) = invite
                        && !invites::redeem(tx, code, now).await?
                    {
                        return Err(SessionsError::InviteRequired);
                    }
                    sessions.insert_user(tx, hashed, email.as_ref()).await?;
                    start::insert_first(tx, new).await?;
                    sessions.send(tx, confirmation.as_ref()).await
                }
                .boxed()
            })
            .await?;
        grant.flow = flow.filter(|_| queued == Queued::Accepted);
        audit::record(Event::SignedUp, Some(grant.user.id), Some(grant.session));
        Ok(grant)
    }

    /// Creates an account without a session. If an account has the address already, sends a mail to its owner
    /// instead.
    async fn sign_up_pending(
        &self,
        mut hashed: HashedUser,
        email: Email,
        device: Device,
        languages: Languages,
    ) -> Result<Uuid, SessionsError> {
        for _ in 0..ATTEMPTS {
            if let Some(existing) = self.accounts.find_by_email(&email).await? {
                return self.sign_up_again(&existing, &hashed, &email, languages).await;
            }
            let user = hashed.user().clone();
            let confirmation = self.confirmation(&user, &email, None, languages.clone());
            let flow = confirmation.0.id;
            let device = (DeviceInfo::from(&device), self.clock.now());
            let input = (self.clone(), hashed.clone(), email.clone(), confirmation, device);
            let inserted = self
                .db
                .write(input, |tx, (sessions, hashed, email, confirmation, (device, now))| {
                    async move {
                        sessions.insert_user(tx, hashed, Some(email)).await?;
                        // Store the device as known, so that the first login on this device is not reported.
                        events::remember_device(tx, hashed.user().id, device, *now).await?;
                        sessions.send(tx, Some(confirmation)).await
                    }
                    .boxed()
                })
                .await;
            match inserted {
                Ok(_) => {
                    audit::record(Event::SignedUp, Some(user.id), None);
                    return Ok(flow);
                }
                // The username is taken, or a concurrent request has taken the address. The response must not
                // reveal which of them is taken, so the next attempt has no username. The user can choose a
                // username later.
                Err(SessionsError::Accounts(AccountsError::IdentifierTaken)) => hashed.clear_username(),
                Err(error) => return Err(error),
            }
        }
        // Every attempt failed, so the address is reserved: its previous owner can still undo a change of
        // address. Return a flow without a mail, because the response must not depend on the reservation.
        let mut new = NewFlow::new(Purpose::ConfirmAddress, None, email.canonical());
        new.is_bound = true;
        self.store_flow(self.flows.begin(new), Delivery::Nothing).await
    }

    /// Handles a sign-up with the address of an existing account.
    async fn sign_up_again(
        &self,
        existing: &User,
        hashed: &HashedUser,
        email: &Email,
        languages: Languages,
    ) -> Result<Uuid, SessionsError> {
        if !existing.email_verified {
            let hash = hashed.password_hash().to_owned();
            let (flow, delivery) = self.confirmation(existing, email, Some(hash), languages);
            return self.store_flow(flow, delivery).await;
        }
        let mut new = NewFlow::new(Purpose::ConfirmAddress, None, email.canonical());
        new.is_bound = true;
        let mail = existing.email.clone().map(|to| NewMail {
            to,
            user: Some(existing.id),
            kind: MailKind::AddressTaken,
            languages: languages.preferring(existing.locale.as_deref()),
            values: Values::default(),
        });
        self.store_flow(self.flows.begin(new), mail.map_or(Delivery::Nothing, Delivery::Instead)).await
    }

    async fn store_flow(&self, flow: BegunFlow, delivery: Delivery) -> Result<Uuid, SessionsError> {
        let id = flow.id;
        let input = (self.clone(), (flow, delivery));
        self.db.write(input, |tx, (sessions, flow)| sessions.send(tx, Some(flow)).boxed()).await?;
        Ok(id)
    }

    /// Returns the flow that confirms the address of a sign-up, and the mail of the flow. The mailed code is
    /// sufficient without a password, because only the client that signs up gets the id of the flow.
    fn confirmation(
        &self,
        user: &User,
        email: &Email,
        password_hash: Option<String>,
        languages: Languages,
    ) -> Confirmation {
        let address = user.email.clone();
        let to = address.clone().unwrap_or_default();
        let mut new = NewFlow::new(Purpose::ConfirmAddress, Some(user.id), email.canonical());
        new.address = address;
        new.is_bound = true;
        new.password_hash = password_hash;
        (self.flows.begin(new), Delivery::Code { to, languages, values: Values::default() })
    }

    async fn insert_user(
        &self,
        tx: &Tx,
        user: &HashedUser,
        email: Option<&Email>,
    ) -> Result<(), SessionsError> {
        accounts::insert(tx, user).await?;
        // Check whether the address is reserved after the user is inserted, because the insert waits until a
        // concurrent change of address is committed.
        if let Some(email) = email
            && self.flows.is_reserved(tx, email.canonical(), None).await?
        {
            return Err(AccountsError::IdentifierTaken.into());
        }
        Ok(())
    }

    async fn send(&self, tx: &Tx, confirmation: Option<&Confirmation>) -> Result<Queued, SessionsError> {
        match confirmation {
            Some((flow, delivery)) => Ok(self.flows.send(tx, flow, delivery).await?),
            None => Ok(Queued::OverBudget),
        }
    }
}

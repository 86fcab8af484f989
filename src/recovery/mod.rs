//! Confirmation of addresses, recovery of accounts, and changes of address.
//!
//! Each of these actions begins with a flow ([`crate::flows`]), whose code or link is mailed. A request for a
//! mail has the same response, after the same work, whether or not an account has the address. Mail goes only
//! to the stored address of an account or, in a change of address, to the new address.
//!
//! Access to the mailbox proves who owns the address, not who chose the password. Therefore a confirmation
//! also requires the current password or a new one, with two exceptions: a code that belongs to a sign-up or
//! to a request of the logged-in user, and a link in a request that has the access token of the account. If
//! the user confirms an address with a new password, or resets the password of an account whose address was
//! never confirmed, all credentials that were set before are removed.

mod address;
pub mod api;
mod confirm;
mod reset;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use uuid::Uuid;

use crate::accounts::{Accounts, AccountsError, Email, PolicyViolation, User};
use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::flows::{BegunFlow, Delivery, Flow, Flows, NewFlow, Proof, Purpose};
use crate::mail::{Languages, Values};
use crate::sessions::{Sessions, SessionsError};
use crate::throttle::{Blocked, Throttle, ThrottleError, limits};

pub use confirm::PasswordProof;

/// Why a flow cannot be begun or used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The code or token is wrong, used, expired or superseded, or belongs to another purpose.
    #[error("the code or token is not valid")]
    InvalidCode,
    /// The code or token is not sufficient without a password.
    #[error("the password is required")]
    PasswordRequired,
    /// The request sets a new password, but this change of the address requires the current password.
    #[error("a new password is not accepted in place of the current password")]
    NewPasswordRefused,
    /// The account has no email address.
    #[error("the account has no email address")]
    NoAddress,
    /// The new password is not accepted.
    #[error("the new password is not accepted")]
    Policy(#[source] PolicyViolation),
    /// The IP address of the client has requested too many emails.
    #[error("too many requests")]
    Throttled(#[from] Blocked),
    /// An error of the `accounts` module.
    #[error(transparent)]
    Accounts(AccountsError),
    /// An error of the `sessions` module.
    #[error(transparent)]
    Sessions(#[from] SessionsError),
    /// An error of the database.
    #[error("failed to read or write flows")]
    Store(#[from] StoreError),
}

impl From<AccountsError> for RecoveryError {
    fn from(error: AccountsError) -> Self {
        match error {
            // The account was deleted after the code was requested.
            AccountsError::NoSuchUser => Self::InvalidCode,
            error => Self::Accounts(error),
        }
    }
}

impl From<ThrottleError> for RecoveryError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Blocked(blocked) => Self::Throttled(blocked),
            ThrottleError::Store(error) => Self::Store(error),
        }
    }
}

/// The client of a request for an email.
#[derive(Debug, Clone)]
pub struct Requester {
    /// The IP address of the client.
    pub address: IpAddr,
    /// The languages of the client's user.
    pub languages: Languages,
}

impl HasStoreError for RecoveryError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Accounts(error) => error.store(),
            Self::Sessions(error) => error.store(),
            Self::InvalidCode
            | Self::PasswordRequired
            | Self::NewPasswordRefused
            | Self::NoAddress
            | Self::Policy(_)
            | Self::Throttled(_) => None,
        }
    }
}

/// Confirms addresses, recovers accounts and changes addresses. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recovery {
    db: Db,
    clock: Clock,
    accounts: Accounts,
    // An `Arc`, because the input of each transaction contains a copy of `Recovery`.
    sessions: Arc<Sessions>,
    flows: Arc<Flows>,
    throttle: Throttle,
}

impl Recovery {
    /// Creates the service.
    pub fn new(
        db: Db,
        clock: Clock,
        accounts: Accounts,
        sessions: Sessions,
        flows: Flows,
        throttle: Throttle,
    ) -> Self {
        Self { db, clock, accounts, sessions: Arc::new(sessions), flows: Arc::new(flows), throttle }
    }

    /// Mails a code that confirms the address of an account. `caller` is the user of the request's access
    /// token, if there is one.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Throttled`].
    pub async fn resend_confirmation(
        &self,
        email: &Email,
        caller: Option<Uuid>,
        client: Requester,
    ) -> Result<Uuid, RecoveryError> {
        self.request(Purpose::ConfirmAddress, email, caller, client).await
    }

    /// Mails a code with which the user chooses a new password.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Throttled`].
    pub async fn request_reset(&self, email: &Email, client: Requester) -> Result<Uuid, RecoveryError> {
        self.request(Purpose::ResetPassword, email, None, client).await
    }

    /// Mails a code with which the user logs in.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::Throttled`].
    pub async fn request_login_code(&self, email: &Email, client: Requester) -> Result<Uuid, RecoveryError> {
        self.request(Purpose::LogIn, email, None, client).await
    }

    /// Mails a code with which a logged-in user authenticates again. The code is valid only in the session of
    /// this request. If the access token of this request has no session, the code is valid only in requests
    /// whose access token has no session either.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::NoAddress`], [`RecoveryError::Throttled`], or a wrapped [`AccountsError::NoSuchUser`].
    pub async fn request_step_up(
        &self,
        user: Uuid,
        session: Option<Uuid>,
        client: Requester,
    ) -> Result<Uuid, RecoveryError> {
        let user = self.accounts.find(user).await.map_err(RecoveryError::Accounts)?;
        let to = user.email.clone().ok_or(RecoveryError::NoAddress)?;
        let mut new = NewFlow::new(Purpose::Reauthenticate, Some(user.id), "");
        new.session = session;
        new.address = Some(to.clone());
        let languages = client.languages.preferring(user.locale.as_deref());
        let delivery = Delivery::Code { to, languages, values: Values::default() };
        match self.store(self.flows.begin(new), delivery, client.address).await {
            Err(RecoveryError::Store(StoreError::ForeignKeyViolation(_))) => {
                Err(RecoveryError::Accounts(AccountsError::NoSuchUser))
            }
            stored => stored,
        }
    }

    /// Begins a flow for an address, and mails its code if an account has the address. Returns the id of the flow
    /// in either case.
    async fn request(
        &self,
        purpose: Purpose,
        email: &Email,
        caller: Option<Uuid>,
        client: Requester,
    ) -> Result<Uuid, RecoveryError> {
        let found = self.accounts.find_by_email(email).await?;
        // A confirmed address needs no confirmation.
        let needs_mail = |user: &User| purpose != Purpose::ConfirmAddress || !user.email_verified;
        let user = found.filter(needs_mail);
        let mut new = NewFlow::new(purpose, user.as_ref().map(|user| user.id), email.canonical());
        new.address = user.as_ref().and_then(|user| user.email.clone());
        new.is_bound = user.as_ref().is_some_and(|user| caller == Some(user.id));
        let locale = user.as_ref().and_then(|user| user.locale.as_deref());
        let languages = client.languages.preferring(locale);
        let delivery = match new.address.clone() {
            Some(to) => Delivery::Code { to, languages, values: Values::default() },
            None => Delivery::Nothing,
        };
        let flow = self.flows.begin(new);
        let id = flow.id;
        match self.store(flow, delivery, client.address).await {
            // The account was deleted in the meantime. Respond as for an address without an account.
            Err(RecoveryError::Store(StoreError::ForeignKeyViolation(_))) => Ok(id),
            stored => stored,
        }
    }

    /// Stores a flow and its email, unless there were too many requests from this IP address. Returns the id
    /// of the flow.
    async fn store(
        &self,
        flow: BegunFlow,
        delivery: Delivery,
        address: IpAddr,
    ) -> Result<Uuid, RecoveryError> {
        let id = flow.id;
        let input = (self.clone(), flow, delivery, address);
        self.db
            .write(input, |tx, (recovery, flow, delivery, address)| {
                async move {
                    recovery.count_request(tx, *address).await?;
                    recovery.flows.send(tx, flow, delivery).await?;
                    Ok(())
                }
                .boxed()
            })
            .await
            .map(|()| id)
    }

    /// Counts a request for an email. The limit applies to the IP address of the client, not to the account.
    async fn count_request(&self, tx: &Tx, address: IpAddr) -> Result<(), RecoveryError> {
        Ok(self.throttle.take(tx, &limits::of_mail(address)).await?)
    }

    /// Counts a try. If the proof is correct, returns the flow, and removes the try from the count if the
    /// flow was used before or `forgets_try` is set.
    async fn check(
        &self,
        proof: &Proof,
        purposes: &'static [Purpose],
        forgets_try: bool,
    ) -> Result<Flow, RecoveryError> {
        let input = (self.flows.clone(), proof.clone(), purposes, forgets_try);
        let checked: Result<Option<Flow>, StoreError> = self
            .db
            .write(input, |tx, (flows, proof, purposes, forgets_try)| {
                async move {
                    let found = flows.check(tx, proof, purposes).await?;
                    if let Some(flow) = found.as_ref().filter(|flow| flow.is_used || *forgets_try) {
                        flows.forget_try(tx, flow).await?;
                    }
                    Ok(found)
                }
                .boxed()
            })
            .await;
        checked?.ok_or(RecoveryError::InvalidCode)
    }

    /// Returns the flow of a proof if the flow is usable. Does not check the code.
    async fn find(&self, proof: &Proof, purposes: &'static [Purpose]) -> Result<Flow, RecoveryError> {
        let input = (self.flows.clone(), proof.clone(), purposes);
        let found: Result<Option<Flow>, StoreError> =
            self.db.read(input, |tx, (flows, proof, purposes)| flows.find(tx, proof, purposes).boxed()).await;
        found?.ok_or(RecoveryError::InvalidCode)
    }

    /// Checks a new password of a user and hashes it.
    async fn hash(&self, user: &User, password: &str) -> Result<String, RecoveryError> {
        let password = self.accounts.check_password_of(user, password).map_err(RecoveryError::Policy)?;
        Ok(self.accounts.hash_new_password(password).await?)
    }
}

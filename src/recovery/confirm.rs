//! Confirms the address of a sign-up, or the new address in a change of address.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Recovery, RecoveryError};
use crate::accounts;
use crate::audit::{self, Event};
use crate::db::Tx;
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{Flow, Proof, Purpose};
use crate::mail::Languages;
use crate::tokens::Revocation;

/// The purposes of the flows that a confirmation accepts.
const PURPOSES: &[Purpose] = &[Purpose::ConfirmAddress, Purpose::ChangeAddress];

/// Which password a confirmation contains besides the code or token.
#[derive(Clone)]
pub enum PasswordProof {
    /// The request contains no password.
    None,
    /// The password of the account.
    Current(String),
    /// A new password. A change of address accepts it only if the account has never confirmed an address. All
    /// credentials that were set before are removed.
    New(String),
}

/// The input of the transaction that confirms an address.
#[derive(Clone)]
struct Confirmation {
    recovery: Recovery,
    flow: Flow,
    user: Uuid,
    /// The hash of a new password, if there is one.
    password_hash: Option<String>,
    languages: Languages,
    event: NewEvent,
    now: DateTime<Utc>,
}

impl Recovery {
    /// Confirms the address of a flow. `caller` is the user of the request's access token, if there is one.
    /// If the same request is repeated within 10 minutes after it succeeded, it succeeds again and changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`RecoveryError::InvalidCode`], [`RecoveryError::PasswordRequired`], [`RecoveryError::NewPasswordRefused`],
    /// [`RecoveryError::Policy`], or a wrapped
    /// [`accounts::AccountsError::WrongPassword`].
    pub async fn confirm(
        &self,
        proof: Proof,
        password: PasswordProof,
        caller: Option<Uuid>,
        languages: Languages,
    ) -> Result<(), RecoveryError> {
        let flow = self.find(&proof, PURPOSES).await?;
        let is_trusted = match proof {
            Proof::Code { .. } => flow.is_bound,
            Proof::Token(_) => flow.user.is_some() && caller == flow.user,
        };
        // Reject a request without a password before the code is checked, so that the response reveals
        // nothing about the code.
        if !is_trusted && matches!(password, PasswordProof::None) {
            return Err(RecoveryError::PasswordRequired);
        }
        // A request with the current password costs a try even if the code is correct, because the password
        // may be a guess.
        let forgets_try = !matches!(password, PasswordProof::Current(_));
        let flow = self.check(&proof, PURPOSES, forgets_try).await?;
        let user = flow.user.ok_or(RecoveryError::InvalidCode)?;
        if flow.is_used {
            return Ok(());
        }
        let mut password_hash = None;
        match &password {
            PasswordProof::None => {
                // Only the flow of a sign-up has a password hash. Only the client that signed up has the id
                // of this flow: a code proves that this client chose the password, and a link does not.
                password_hash = flow.password_hash.clone().filter(|_| matches!(proof, Proof::Code { .. }));
            }
            PasswordProof::Current(password) => self.accounts.prove_password(user, password).await?,
            PasswordProof::New(password) => {
                let found = self.accounts.find(user).await?;
                // Access to the new mailbox does not prove the ownership of an account that has confirmed an address
                // before: the address may be mistyped, or entered by a thief.
                if flow.purpose == Purpose::ChangeAddress && found.email_verified {
                    return Err(RecoveryError::NewPasswordRefused);
                }
                password_hash = Some(self.hash(&found, password).await?);
            }
        }
        let kind = match flow.purpose {
            Purpose::ChangeAddress => EventKind::EmailChanged,
            _ => EventKind::EmailConfirmed,
        };
        let event = NewEvent::new(&self.clock, user, kind);
        let now = event.at();
        let recovery = self.clone();
        let confirmation = Confirmation { recovery, flow, user, password_hash, languages, event, now };
        let (recovery, flow) = (self.clone(), confirmation.flow.clone());
        let confirmed = self.db.write(confirmation, |tx, confirmation| confirmation.apply(tx).boxed()).await;
        match confirmed {
            Ok(ended) => {
                self.sessions.apply_ended(user, &ended);
                audit::record(Event::AddressConfirmed, Some(user), None);
                Ok(())
            }
            // A concurrent request with the same proof may have confirmed the address first.
            Err(RecoveryError::InvalidCode) => {
                let found = recovery.find(&proof, PURPOSES).await?;
                if found.id == flow.id && found.is_used { Ok(()) } else { Err(RecoveryError::InvalidCode) }
            }
            Err(error) => Err(error),
        }
    }
}

impl Confirmation {
    async fn apply(&self, tx: &Tx) -> Result<Vec<Revocation>, RecoveryError> {
        let Self { recovery, flow, user, password_hash, now, .. } = self;
        if !recovery.flows.close(tx, flow).await? {
            return Err(RecoveryError::InvalidCode);
        }
        let address = flow.address.as_deref().unwrap_or_default();
        if flow.purpose == Purpose::ChangeAddress {
            recovery.change(tx, *user, address, &self.languages, *now).await?;
        } else if !accounts::confirm_address(tx, *user, address, *now).await? {
            return Err(RecoveryError::InvalidCode);
        }
        events::record(tx, &self.event).await?;
        let mut ended = Vec::new();
        if let Some(hash) = password_hash {
            let claimed = self.event.clone().followed_by(&recovery.clock, EventKind::AccountClaimed);
            events::record(tx, &claimed).await?;
            ended = recovery.sessions.drop_credentials(tx, *user, hash, *now).await?;
        }
        Ok(ended)
    }
}

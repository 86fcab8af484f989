//! Login by a mailed code instead of a password.
//!
//! The code is valid only with the id of its flow. Only the client that requested the code has this id. A
//! login proves that the user can read the mailbox, so it confirms the address. If the address was never
//! confirmed, all credentials that were set before are removed, including the password
//! ([`Sessions::drop_credentials`]).

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::start::{self, NewSession};
use super::{Device, Grant, Sessions, SessionsError};
use crate::accounts::{self, AccountsError, NO_PASSWORD, User};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{Flow, Proof, Purpose};
use crate::throttle::CredentialTag;
use crate::tokens::{BY_CODE, Revocation, Scopes};

/// The input of the transaction that stores a login.
#[derive(Clone)]
struct CodeLogin {
    sessions: Sessions,
    flow: Flow,
    user: Uuid,
    session: NewSession,
    /// The version of the credentials when the code was checked.
    version: i64,
    was_confirmed: bool,
    /// The event that is recorded if the address was not confirmed before.
    claimed: NewEvent,
    at: DateTime<Utc>,
}

impl Sessions {
    /// Starts a session for the user to whom the code was mailed.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidCode`] or [`SessionsError::SecondFactorRequired`].
    pub async fn log_in_by_code(
        &self,
        flow: Uuid,
        code: String,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let input = (self.flows.clone(), Proof::Code { flow, code });
        let checked: Result<Option<Flow>, StoreError> = self
            .db
            .write(input, |tx, (flows, proof)| flows.check(tx, proof, &[Purpose::LogIn]).boxed())
            .await;
        let flow = checked?.ok_or(SessionsError::InvalidCode)?;
        let user = flow.user.ok_or(SessionsError::InvalidCode)?;
        let mut user = match self.accounts.find(user).await {
            Err(AccountsError::NoSuchUser) => return Err(SessionsError::InvalidCode),
            Ok(user) if user.is_disabled() => return Err(SessionsError::InvalidCode),
            found => found?,
        };
        if user.email_verified && user.mfa_enabled {
            return self.continue_code_login(flow, user, device).await;
        }
        let was_confirmed = std::mem::replace(&mut user.email_verified, true);
        if !was_confirmed {
            user.credential = CredentialTag::of_hash(NO_PASSWORD);
            user.mfa_enabled = false;
        }
        let mut session = self.new_session(user.id, Scopes::all(), device);
        session.amr = vec![BY_CODE.to_owned()];
        let now = session.created_at;
        let grant = self.issue_grant(&mut session, user, now)?;
        let login = CodeLogin {
            sessions: self.clone(),
            flow,
            user: grant.user.id,
            session: self.with_events(session, EventKind::LoginSucceeded, &grant.user),
            version: grant.user.credentials_version,
            claimed: NewEvent::new(&self.clock, grant.user.id, EventKind::AccountClaimed),
            was_confirmed,
            at: now,
        };
        let ended = self.db.write(login, |tx, login| login.store(tx).boxed()).await?;
        self.record_login(&grant, &ended);
        Ok(grant)
    }
}

impl Sessions {
    /// Closes the flow, so that its code can't be used again, and asks for a second factor.
    async fn continue_code_login(
        &self,
        flow: Flow,
        user: User,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let input = (self.flows.clone(), flow);
        let closed: Result<bool, StoreError> =
            self.db.write(input, |tx, (flows, flow)| flows.close(tx, flow).boxed()).await;
        if !closed? {
            return Err(SessionsError::InvalidCode);
        }
        self.continue_login(user, &[BY_CODE], Scopes::all(), device).await
    }
}

impl CodeLogin {
    /// Closes the flow, confirms the address, and stores the session. Returns the revocations of the sessions
    /// that the login ended.
    async fn store(&self, tx: &Tx) -> Result<Vec<Revocation>, SessionsError> {
        let Self { sessions, flow, session, .. } = self;
        let (user, now) = (self.user, self.at);
        let address = flow.address.as_deref().unwrap_or_default();
        // The address may have changed since the code was sent.
        if !sessions.flows.close(tx, flow).await?
            || !accounts::confirm_address(tx, user, address, now).await?
        {
            return Err(SessionsError::InvalidCode);
        }
        let (mut ended, mut version) = (Vec::new(), self.version);
        if !self.was_confirmed {
            if !accounts::lock_unchanged(tx, user, version).await? {
                return Err(AccountsError::InvalidCredentials.into());
            }
            events::record(tx, &self.claimed).await?;
            ended = sessions.drop_credentials(tx, user, NO_PASSWORD, now).await?;
            version = accounts::find(tx, user).await?.credentials_version;
        }
        ended.extend(start::insert(tx, session, version, sessions.lifetimes.max_sessions).await?);
        Ok(ended)
    }
}

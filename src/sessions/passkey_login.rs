//! Login by a passkey, and the options for a login or a step-up by a passkey.
//!
//! A passkey identifies its user, and the device has verified the user, for example by a fingerprint. A
//! passkey therefore replaces the identifier, the password and the second factor.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::pending_login::LoginToken;
use super::store::pending_logins;
use super::{Device, Grant, Session, Sessions, SessionsError, start};
use crate::accounts::{self, AccountsError};
use crate::audit;
use crate::db::{HasStoreError, Tx};
use crate::events::EventKind;
use crate::passkeys::{Ceremony, Passkeys, PasskeysError, Proof, RequestOptions};
use crate::second_factors::{Checked, Method};
use crate::tokens::{Revocation, Scopes};

/// The grant of a login, and the revocations of the sessions that ended because the user had too many
/// sessions.
type Started = (Grant, Vec<Revocation>);

/// A login by a passkey.
struct PasskeyLogin {
    sessions: Sessions,
    proof: Proof,
    scopes: Scopes,
    device: Device,
    address: Option<IpAddr>,
    at: DateTime<Utc>,
}

impl Sessions {
    /// Returns the options for a login by a passkey. With the token of a waiting login, the passkey is the
    /// second factor of that login. Without a token, the passkey is the only factor. Requests without a token
    /// are limited for each IP address, because each of them stores a challenge. Requests with a token need
    /// no such limit, because a known user has a limited number of challenges.
    ///
    /// # Errors
    ///
    /// [`SessionsError::LoginExpired`], or a wrapped [`crate::passkeys::PasskeysError::NoPasskey`] or
    /// [`AccountsError::Throttled`].
    pub async fn begin_passkey_login(
        &self,
        token: Option<&str>,
        address: IpAddr,
    ) -> Result<RequestOptions, SessionsError> {
        let Some(token) = token else {
            let input = (self.clone(), address);
            return self
                .db
                .write(input, |tx, (this, address)| this.begin_only_factor(tx, *address).boxed())
                .await;
        };
        let input = (self.passkeys.clone(), LoginToken::of(token), self.clock.now());
        self.db
            .write(input, |tx, (passkeys, token, now)| begin_second_factor(tx, passkeys, token, *now).boxed())
            .await
    }

    async fn begin_only_factor(&self, tx: &Tx, address: IpAddr) -> Result<RequestOptions, SessionsError> {
        self.accounts.count_passkey_options(tx, address).await?;
        Ok(self.passkeys.begin_login(tx).await.map_err(PasskeysError::Store)?)
    }

    /// Begins the step-up of a user by a passkey.
    ///
    /// # Errors
    ///
    /// A wrapped [`crate::passkeys::PasskeysError::NoPasskey`].
    pub async fn begin_step_up(&self, user: Uuid) -> Result<RequestOptions, SessionsError> {
        Ok(self.passkeys.begin_step_up(user).await?)
    }

    /// Starts a session for the user of a passkey. The tokens of the session are limited to `scopes`.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidPasskey`]; a wrapped [`AccountsError::Unconfirmed`] if the address must be
    /// confirmed first; a wrapped [`AccountsError::InvalidCredentials`] if the account is disabled.
    pub async fn log_in_by_passkey(
        &self,
        proof: Proof,
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let (sessions, address, at) = (self.clone(), audit::client_address(), self.clock.now());
        let login = PasskeyLogin { sessions, proof, scopes, device, address, at };
        let checked = self.db.write(login, |tx, login| login.run(tx).boxed()).await?;
        let (grant, ended) = checked?;
        self.record_login(&grant, &ended);
        Ok(grant)
    }
}

impl PasskeyLogin {
    /// Checks the passkey and starts the session. A rejected passkey and an account that can't log in are
    /// inner errors: the transaction commits, so that the challenge is used up. An outer error rolls the
    /// transaction back.
    async fn run(&self, tx: &Tx) -> Result<Result<Started, SessionsError>, SessionsError> {
        let passkeys = &self.sessions.passkeys;
        let user = match passkeys.check(tx, Ceremony::LogIn, None, &self.proof, self.at).await? {
            Ok(user) => user,
            Err(rejection) => return Ok(Err(SessionsError::InvalidPasskey(rejection))),
        };
        match self.start(tx, user).await {
            Err(SessionsError::Accounts(error)) if error.store().is_none() => Ok(Err(error.into())),
            started => started.map(Ok),
        }
    }

    /// Stores the session. Writes nothing if the account cannot log in.
    async fn start(&self, tx: &Tx, user: Uuid) -> Result<Started, SessionsError> {
        let Self { sessions, at: now, .. } = self;
        let user = accounts::find(tx, user).await?;
        if sessions.accounts.must_confirm(&user) {
            return Err(AccountsError::Unconfirmed.into());
        }
        let amr = Checked::amr(Method::Passkey).iter().map(|&method| method.to_owned()).collect();
        let new = sessions.new_session(user.id, self.scopes, self.device.clone());
        let mut session = Session { amr, ..new };
        let grant = sessions.issue_grant(&mut session, user, *now)?;
        let new = sessions.with_events(session, EventKind::LoginSucceeded, &grant.user).from(self.address);
        let (version, max) = (grant.user.credentials_version, sessions.lifetimes.max_sessions);
        let ended = start::insert(tx, &new, version, max).await?;
        Ok((grant, ended))
    }
}

async fn begin_second_factor(
    tx: &Tx,
    passkeys: &Passkeys,
    token: &LoginToken,
    now: DateTime<Utc>,
) -> Result<RequestOptions, SessionsError> {
    let user = pending_logins::find_open(tx, token, now).await?.ok_or(SessionsError::LoginExpired)?;
    Ok(passkeys.begin(tx, Ceremony::SecondFactor { login: token.digest }, user).await?)
}

//! Step-up: the user of an access token authenticates again, and gets an access token of the same session with a
//! new `auth_time` (RFC 9470).
//!
//! Sensitive operations require a recent authentication, because an access token can be stolen. The session
//! stores the time of the authentication, so that the tokens of later refreshes contain it too.

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::{Session, Sessions, SessionsError, store};
use crate::accounts::{AccountsError, Authorization};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::flows::{self, Flows, Purpose};
use crate::passkeys::Ceremony;
use crate::second_factors::{Checked, Proof, SecondFactorsError};
use crate::tokens::{BY_CODE, BY_PASSWORD, Scopes, Subject};

/// The access token of a caller that authenticates again.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// The user of the access token.
    pub user: Uuid,
    /// The session of the access token, if there is one.
    pub session: Option<Uuid>,
    /// The generation of the refresh token that was issued with the access token.
    pub generation: Option<i64>,
    /// The scopes of the access token. The new token has the same scopes.
    pub scopes: Scopes,
    /// The authentication methods of the access token. The new token has them too.
    pub amr: Vec<String>,
    /// Checks again that a caller without a session is still logged in, before the new token is returned.
    /// `None` for a personal access token.
    pub authorization: Option<Authorization>,
}

/// An access token with a new `auth_time`.
#[derive(Debug, Clone)]
pub struct StepUp {
    /// The access token: a JWT.
    pub access_token: String,
    /// The lifetime of the access token, in seconds.
    pub expires_in_secs: i64,
    /// The session, if there is one.
    pub session: Option<Uuid>,
    /// The scopes of the access token.
    pub scopes: Scopes,
    /// When the access token was issued.
    pub at: DateTime<Utc>,
}

impl Sessions {
    /// Authenticates a caller again by the password of the account.
    ///
    /// # Errors
    ///
    /// The wrapped errors of [`Accounts::prove_password`](crate::accounts::Accounts::prove_password), and the
    /// errors of [`Sessions::step_up`].
    pub async fn step_up_by_password(
        &self,
        caller: Authenticated,
        password: &str,
    ) -> Result<StepUp, SessionsError> {
        self.accounts.prove_password(caller.user, password).await?;
        self.step_up(caller, &[BY_PASSWORD]).await
    }

    /// Authenticates a caller again by a second factor of the account.
    ///
    /// # Errors
    ///
    /// [`SessionsError::WrongSecondFactor`], [`SessionsError::InvalidPasskey`],
    /// [`SessionsError::TooManyAttempts`], and the errors of [`Sessions::step_up`].
    pub async fn step_up_by_second_factor(
        &self,
        caller: Authenticated,
        proof: Proof,
    ) -> Result<StepUp, SessionsError> {
        let input = (self.second_factors.clone(), caller.user, proof, self.clock.now());
        let checked: Result<Checked, SecondFactorsError> = self
            .db
            .write(input, |tx, (factors, user, proof, now)| {
                factors.check(tx, *user, proof, Ceremony::StepUp, *now).boxed()
            })
            .await;
        match checked? {
            Checked::Proven(method) => self.step_up(caller, Checked::amr(method)).await,
            Checked::Rejected(rejection) => {
                audit::record(Event::SecondFactorFailed, Some(caller.user), caller.session);
                Err(SessionsError::InvalidPasskey(rejection))
            }
            Checked::Wrong => {
                audit::record(Event::SecondFactorFailed, Some(caller.user), caller.session);
                Err(SessionsError::WrongSecondFactor)
            }
            Checked::Blocked { retry_after_secs } => Err(SessionsError::TooManyAttempts { retry_after_secs }),
        }
    }

    /// Authenticates a caller again by a mailed code, which is valid only in the session that requested it.
    ///
    /// # Errors
    ///
    /// [`SessionsError::InvalidCode`], and the errors of [`Sessions::step_up`].
    pub async fn step_up_by_code(
        &self,
        caller: Authenticated,
        flow: Uuid,
        code: String,
    ) -> Result<StepUp, SessionsError> {
        let proof = flows::Proof::Code { flow, code };
        let input = (self.flows.clone(), (caller.user, caller.session), proof);
        let is_proven: Result<bool, StoreError> = self
            .db
            .write(input, |tx, (flows, caller, proof)| use_code(tx, flows, *caller, proof).boxed())
            .await;
        if !is_proven? {
            audit::record(Event::LoginFailed, Some(caller.user), caller.session);
            return Err(SessionsError::InvalidCode);
        }
        self.step_up(caller, &[BY_CODE]).await
    }

    /// Issues an access token with the current time as `auth_time`, for a caller that has just authenticated by
    /// `methods` (RFC 8176).
    ///
    /// # Errors
    ///
    /// [`SessionsError::Revoked`] if the session has ended, or a wrapped
    /// [`crate::tokens::TokensError::NoSigningKey`].
    pub async fn step_up(
        &self,
        mut caller: Authenticated,
        methods: &[&str],
    ) -> Result<StepUp, SessionsError> {
        let now = self.clock.now();
        let Authenticated { user, session: id, .. } = caller;
        let mut session: Option<Session> = None;
        if let Some(id) = id {
            let found: Result<_, StoreError> =
                self.db.read((user, id), |tx, (user, id)| store::find(tx, *user, *id).boxed()).await;
            session = Some(found?.ok_or(SessionsError::Revoked)?.session);
        }
        // Another request may have added methods to the session after the caller's token was minted.
        let stored = session.iter().flat_map(|session| session.amr.iter().map(String::as_str));
        for method in stored.chain(methods.iter().copied()) {
            if !caller.amr.iter().any(|known| known == method) {
                caller.amr.push(method.to_owned());
            }
        }
        let minted = self.tokens.mint(Subject {
            user,
            session: id,
            generation: caller.generation,
            scopes: caller.scopes,
            amr: caller.amr.clone(),
            authenticated_at: now,
            until: session.as_ref().map(|session| session.idle_expires_at),
        })?;
        if let Some(mut session) = session {
            session.authenticated_at = now;
            session.amr = caller.amr;
            session.access_expires_at = minted.expires_at;
            let event =
                NewEvent::new(&self.clock, user, EventKind::Reauthenticated).in_session(Some(session.id));
            let renewed: Result<bool, StoreError> = self
                .db
                .write((session, event, now), |tx, (session, event, now)| {
                    async move {
                        let renewed = store::renew_authentication(tx, session.user, session, *now).await?;
                        if renewed {
                            events::record(tx, event).await?;
                        }
                        Ok(renewed)
                    }
                    .boxed()
                })
                .await;
            if !renewed? {
                return Err(SessionsError::Revoked);
            }
        } else if let Some(authorization) = caller.authorization {
            // A revocation from before the new token was minted does not include the new token. So check
            // again whether the caller's token was revoked.
            let locked: Result<(), AccountsError> = self
                .db
                .write(authorization, |tx, authorization| authorization.require_lock(tx).boxed())
                .await;
            locked?;
        }
        audit::record(Event::Reauthenticated, Some(user), id);
        Ok(StepUp {
            access_token: minted.token,
            expires_in_secs: minted.expires_in_secs,
            session: id,
            scopes: caller.scopes,
            at: now,
        })
    }
}

/// Returns true if a mailed code is correct, and uses the code up. If the flow of the code belongs to another
/// user or session, returns false without counting a try.
async fn use_code(
    tx: &Tx,
    flows: &Flows,
    (user, session): (Uuid, Option<Uuid>),
    proof: &flows::Proof,
) -> Result<bool, StoreError> {
    const PURPOSES: &[Purpose] = &[Purpose::Reauthenticate];
    let found = flows.find(tx, proof, PURPOSES).await?;
    if found.is_none_or(|flow| flow.user != Some(user) || flow.session != session) {
        return Ok(false);
    }
    match flows.check(tx, proof, PURPOSES).await? {
        Some(flow) => flows.close(tx, &flow).await,
        None => Ok(false),
    }
}

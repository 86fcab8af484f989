//! The second factor of a login. After a correct first factor, the login waits for the second factor, and the
//! client gets a random token that identifies the waiting login.
//!
//! The token is valid for one login, for 5 minutes and 5 attempts. The user, the scopes and the device of the
//! login are stored with the digest of the token. The token itself is not stored.
//!
//! Confirming or removing an authenticator app ends all other sessions in the same transaction.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::pending_login::{LoginToken, PendingLogin};
use super::store::pending_logins;
use super::{Device, Grant, Session, Sessions, SessionsError, revocation, start, store};
use crate::accounts::{self, AccountsError, Authorization, User};
use crate::audit::{self, Event};
use crate::db::{StoreError, Tx};
use crate::events::{self, EventKind, NewEvent};
use crate::mail::Languages;
use crate::passkeys::{Ceremony, Rejection};
use crate::personal_tokens;
use crate::second_factors::{self, Checked, MULTI_FACTOR, Method, Proof, RecoveryCode};
use crate::tokens::{self, Revocation, Scopes};

/// How long a login waits for the second factor.
const TTL: TimeDelta = TimeDelta::minutes(5);
/// The maximum number of waiting logins of a user. An additional login replaces the oldest.
const WAITING_MAX: u64 = 20;

/// What a client needs to continue a login with a second factor.
#[derive(Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The token of the waiting login.
    pub token: String,
    /// The second factors that the user has.
    pub methods: Vec<Method>,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge").field("methods", &self.methods).finish_non_exhaustive()
    }
}

/// The result of checking a second factor.
#[derive(Debug)]
enum Outcome {
    Proven(Box<Grant>, Vec<Revocation>),
    Rejected(Uuid, Rejection),
    Expired,
    Wrong(Uuid),
}

impl Sessions {
    /// Continues a login whose first factor is correct: starts a session, or asks for a second factor if the
    /// account requires one. `methods` are the methods that proved the first factor (RFC 8176).
    ///
    /// # Errors
    ///
    /// [`SessionsError::SecondFactorRequired`], or a wrapped [`AccountsError::InvalidCredentials`] if the account was
    /// deleted or disabled, or its credentials were changed, since the first factor was checked.
    pub async fn continue_login(
        &self,
        user: User,
        methods: &[&str],
        scopes: Scopes,
        device: Device,
    ) -> Result<Grant, SessionsError> {
        let amr: Vec<String> = methods.iter().map(|&method| method.to_owned()).collect();
        if user.mfa_enabled {
            let challenge = self.await_second_factor(&user, amr, scopes, device).await?;
            return Err(SessionsError::SecondFactorRequired(challenge));
        }
        self.start_session(user, amr, scopes, device).await
    }

    async fn await_second_factor(
        &self,
        user: &User,
        amr: Vec<String>,
        scopes: Scopes,
        device: Device,
    ) -> Result<Challenge, SessionsError> {
        let (text, token) = LoginToken::random();
        let now = self.clock.now();
        let login = PendingLogin { user: user.id, expires_at: now + TTL, scopes, amr, device };
        let input = (token, login, user.credentials_version, now);
        let methods: Result<Vec<Method>, SessionsError> = self
            .db
            .write(input, |tx, (token, login, version, now)| {
                insert_pending(tx, token, login, *version, *now).boxed()
            })
            .await;
        let challenge = Challenge { token: text, methods: methods? };
        audit::record(Event::SecondFactorRequired, Some(user.id), None);
        Ok(challenge)
    }

    /// Completes a waiting login with a second factor.
    ///
    /// # Errors
    ///
    /// [`SessionsError::LoginExpired`], [`SessionsError::WrongSecondFactor`], [`SessionsError::InvalidPasskey`] or
    /// [`SessionsError::TooManyAttempts`].
    pub async fn complete_login(
        &self,
        token: &str,
        proof: Proof,
        languages: Languages,
    ) -> Result<Grant, SessionsError> {
        let input = (self.clone(), LoginToken::of(token), proof, (audit::client_address(), languages));
        let outcome: Result<Outcome, SessionsError> = self
            .db
            .write(input, |tx, (sessions, token, proof, client)| {
                sessions.check_pending(tx, token, proof, client).boxed()
            })
            .await;
        match outcome? {
            Outcome::Proven(grant, ended) => {
                self.record_login(&grant, &ended);
                Ok(*grant)
            }
            Outcome::Expired => Err(SessionsError::LoginExpired),
            Outcome::Rejected(user, rejection) => {
                audit::record(Event::SecondFactorFailed, Some(user), None);
                Err(SessionsError::InvalidPasskey(rejection))
            }
            Outcome::Wrong(user) => {
                audit::record(Event::SecondFactorFailed, Some(user), None);
                Err(SessionsError::WrongSecondFactor)
            }
        }
    }

    async fn check_pending(
        &self,
        tx: &Tx,
        token: &LoginToken,
        proof: &Proof,
        (address, languages): &(Option<IpAddr>, Languages),
    ) -> Result<Outcome, SessionsError> {
        let now = self.clock.now();
        // Count the attempt before the proof is compared, so that parallel requests can't make more than 5
        // attempts.
        if !pending_logins::count_try(tx, token, now).await? {
            return Ok(Outcome::Expired);
        }
        let Some(mut login) = pending_logins::find(tx, token).await? else {
            return Ok(Outcome::Expired);
        };
        let ceremony = Ceremony::SecondFactor { login: token.digest };
        let method = match self.second_factors.check(tx, login.user, proof, ceremony, now).await? {
            Checked::Proven(method) => method,
            Checked::Rejected(rejection) => return Ok(Outcome::Rejected(login.user, rejection)),
            Checked::Wrong => return Ok(Outcome::Wrong(login.user)),
            // Nothing was compared, so return an error: the rollback also reverts the counted attempt.
            Checked::Blocked { retry_after_secs } => {
                return Err(SessionsError::TooManyAttempts { retry_after_secs });
            }
        };
        if !pending_logins::take(tx, token).await? {
            return Ok(Outcome::Expired);
        }
        login.amr.extend(Checked::amr(method).iter().map(|&method| method.to_owned()));
        let user = accounts::find(tx, login.user).await?;
        let device = Device { languages: languages.clone(), ..login.device };
        let new = self.new_session(user.id, login.scopes, device);
        let mut session = Session { amr: login.amr, ..new };
        let grant = self.issue_grant(&mut session, user, now)?;
        let version = grant.user.credentials_version;
        let new = self.with_events(session, EventKind::LoginSucceeded, &grant.user).from(*address);
        let ended = start::insert(tx, &new, version, self.lifetimes.max_sessions).await?;
        if method == Method::RecoveryCode {
            events::record(tx, &new.event_of(&self.clock, EventKind::RecoveryCodeUsed)).await?;
        }
        Ok(Outcome::Proven(Box::new(grant), ended))
    }

    /// Confirms the caller's pending authenticator app. Ends all sessions except the caller's, and removes the
    /// personal tokens with the scope `account`. Returns the recovery codes.
    ///
    /// # Errors
    ///
    /// A wrapped [`crate::totp::TotpError::InvalidCode`] or [`AccountsError::NoSuchUser`].
    pub async fn enable_totp(
        &self,
        authorization: Authorization,
        code: &str,
    ) -> Result<Vec<RecoveryCode>, SessionsError> {
        let (user, current) = (authorization.user(), authorization.session());
        let event = NewEvent::new(&self.clock, user, EventKind::TotpEnabled).in_session(current);
        let until = tokens::revoked_until(&self.clock);
        let input =
            (self.second_factors.clone(), authorization, (code.to_owned(), self.clock.clone()), event, until);
        let (codes, ended, removed): (_, Vec<Revocation>, Vec<Revocation>) = self
            .db
            .write(input, |tx, (factors, authorization, (code, clock), event, until)| {
                async move {
                    authorization.require_lock(tx).await?;
                    let (user, current, now) = (authorization.user(), authorization.session(), event.at());
                    let codes = factors.enable(tx, user, code, now).await?;
                    events::record(tx, event).await?;
                    if let Some(current) = current {
                        add_methods(tx, user, current, Checked::amr(Method::Totp)).await?;
                    }
                    let ended = revocation::end_others(tx, user, current, clock).await?;
                    // A personal token with the scope `account` was created without the second factor, and
                    // gives access to the whole account.
                    let removed = personal_tokens::remove_with_account_scope(tx, user, *until).await?;
                    Ok::<_, SessionsError>((codes, ended, removed))
                }
                .boxed()
            })
            .await?;
        self.apply_ended(user, &ended);
        for revocation in &removed {
            self.tokens.apply(revocation);
            audit::record(Event::PersonalTokenRemoved, Some(user), current);
        }
        audit::record(Event::TotpEnabled, Some(user), current);
        Ok(codes)
    }

    /// Replaces all recovery codes of the caller with new codes.
    ///
    /// # Errors
    ///
    /// A wrapped [`crate::totp::TotpError::NotEnabled`] or [`AccountsError::NoSuchUser`].
    pub async fn replace_recovery_codes(
        &self,
        authorization: Authorization,
    ) -> Result<Vec<RecoveryCode>, SessionsError> {
        let (user, session) = (authorization.user(), authorization.session());
        let event = NewEvent::new(&self.clock, user, EventKind::RecoveryCodesCreated).in_session(session);
        let input = (self.second_factors.clone(), authorization, event);
        let codes: Result<Vec<RecoveryCode>, SessionsError> = self
            .db
            .write(input, |tx, (factors, authorization, event)| {
                async move {
                    authorization.require_lock(tx).await?;
                    events::record(tx, event).await?;
                    Ok(factors.replace_recovery_codes(tx, authorization.user()).await?)
                }
                .boxed()
            })
            .await;
        let codes = codes?;
        audit::record(Event::RecoveryCodesReplaced, Some(user), session);
        Ok(codes)
    }

    /// Removes the caller's authenticator app and recovery codes, and ends all sessions except the caller's. Has
    /// no effect if there is no app.
    ///
    /// # Errors
    ///
    /// [`SessionsError::Store`], or a wrapped [`AccountsError::NoSuchUser`].
    pub async fn disable_totp(&self, authorization: Authorization) -> Result<(), SessionsError> {
        let (user, current) = (authorization.user(), authorization.session());
        let event = NewEvent::new(&self.clock, user, EventKind::TotpDisabled).in_session(current);
        let ended: Option<Vec<Revocation>> = self
            .db
            .write((authorization, event, self.clock.clone()), |tx, (authorization, event, clock)| {
                async move {
                    authorization.require_lock(tx).await?;
                    let (user, current) = (authorization.user(), authorization.session());
                    if !second_factors::disable(tx, user, event.at()).await? {
                        return Ok::<_, SessionsError>(None);
                    }
                    events::record(tx, event).await?;
                    Ok(Some(revocation::end_others(tx, user, current, clock).await?))
                }
                .boxed()
            })
            .await?;
        if let Some(ended) = ended {
            self.apply_ended(user, &ended);
            audit::record(Event::TotpDisabled, Some(user), current);
        }
        Ok(())
    }
}

/// Stores a waiting login, unless the credentials of the account have changed since the first factor was
/// checked.
async fn insert_pending(
    tx: &Tx,
    token: &LoginToken,
    login: &PendingLogin,
    credentials_version: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Method>, SessionsError> {
    if !accounts::lock_unchanged(tx, login.user, credentials_version).await? {
        return Err(AccountsError::InvalidCredentials.into());
    }
    pending_logins::delete_others(tx, login.user, now, WAITING_MAX - 1).await?;
    pending_logins::insert(tx, token, login).await?;
    Ok(second_factors::methods(tx, login.user).await?)
}

/// Adds authentication methods to a session.
async fn add_methods(tx: &Tx, owner: Uuid, id: Uuid, methods: &[&str]) -> Result<(), StoreError> {
    let Some(found) = store::find(tx, owner, id).await? else { return Ok(()) };
    let mut amr = found.session.amr;
    for method in methods {
        if !amr.iter().any(|known| known == method) {
            amr.push((*method).to_owned());
        }
    }
    store::set_methods(tx, owner, id, &amr).await
}

/// Returns true if the account requires a second factor now, and the user of the session has not proved one.
pub(super) fn lacks_second_factor(user: &User, amr: &[String]) -> bool {
    user.mfa_enabled && !amr.iter().any(|method| method == MULTI_FACTOR)
}

//! Second factors: lists the second factors of an account, checks proofs, and removes second factors.
//!
//! After an authenticator app is confirmed, the account requires a second factor until the app is removed. To
//! log in, the user then sends a code of the app, a recovery code, or the response of a passkey. Every login
//! must use [`SecondFactors`], because a password, a mailed code or a password reset never replaces the
//! second factor. A login with a passkey alone needs no other factor, because the device has verified the
//! user.
//!
//! A passkey alone does not make an account require a second factor. Passkeys have no recovery codes, so the
//! loss of the device would lock the user out.
//!
//! The functions run in the transaction of the caller. A wrong code is not an error but a result, so that the
//! transaction commits and the attempt stays counted.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::accounts::{self, AccountsError};
use crate::db::{HasStoreError, StoreError, Tx};
use crate::passkeys::{self, BY_PASSKEY, Ceremony, Passkeys, Rejection};
use crate::totp::{self, Attempt, Totp, TotpError};

pub use crate::totp::RecoveryCode;

/// The `amr` value for a one-time password (RFC 8176).
pub const BY_OTP: &str = "otp";
/// The `amr` value for several factors (RFC 8176).
pub const MULTI_FACTOR: &str = "mfa";

/// A kind of second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A code of an authenticator app.
    Totp,
    /// A recovery code.
    RecoveryCode,
    /// A passkey.
    Passkey,
}

impl Method {
    /// Returns the name in responses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey => "passkey",
        }
    }
}

/// What a user sends to prove a second factor.
#[derive(Clone)]
pub enum Proof {
    /// A code of the authenticator app.
    TotpCode(String),
    /// A recovery code.
    RecoveryCode(String),
    /// The response of a passkey.
    Passkey(Box<passkeys::Proof>),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// The result of checking a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The proof is correct, and can't be used again.
    Proven(Method),
    /// The proof is wrong, or was used before.
    Wrong,
    /// The response of the passkey is not valid. Its challenge is used up.
    Rejected(Rejection),
    /// There were too many wrong codes. Nothing was compared.
    Blocked {
        /// When the next attempt is possible, in seconds from now.
        retry_after_secs: u64,
    },
}

impl Checked {
    /// Returns the `amr` values that a correct proof adds to the values of the first factor (RFC 8176).
    pub fn amr(method: Method) -> &'static [&'static str] {
        match method {
            Method::Totp => &[BY_OTP, MULTI_FACTOR],
            Method::RecoveryCode => &[MULTI_FACTOR],
            Method::Passkey => &[BY_PASSKEY, MULTI_FACTOR],
        }
    }
}

/// Why second factors can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecondFactorsError {
    /// An error of the `totp` module.
    #[error(transparent)]
    Totp(#[from] TotpError),
    /// An error of the `accounts` module.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// An error of the database.
    #[error("failed to read or write second factors")]
    Store(#[from] StoreError),
}

impl HasStoreError for SecondFactorsError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Totp(error) => error.store(),
            Self::Accounts(error) => error.store(),
            Self::Store(error) => Some(error),
        }
    }
}

/// Checks and changes second factors. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SecondFactors {
    totp: Totp,
    passkeys: Passkeys,
}

impl SecondFactors {
    /// Creates the service.
    pub fn new(totp: Totp, passkeys: Passkeys) -> Self {
        Self { totp, passkeys }
    }

    /// Checks a proof of the user. A correct proof can't be used again. Counts the attempt before a code is
    /// compared; a passkey can't be guessed, so its attempts are not counted. `ceremony` is the ceremony for
    /// which the challenge of a passkey must have been issued.
    ///
    /// # Errors
    ///
    /// A wrapped [`TotpError::Sealed`] if the server runs with a wrong master secret.
    pub async fn check(
        &self,
        tx: &Tx,
        user: Uuid,
        proof: &Proof,
        ceremony: Ceremony,
        now: DateTime<Utc>,
    ) -> Result<Checked, SecondFactorsError> {
        if !matches!(proof, Proof::Passkey(_)) {
            match totp::begin_attempt(tx, user, now).await? {
                Attempt::Counted => {}
                Attempt::Blocked { retry_after_secs } => return Ok(Checked::Blocked { retry_after_secs }),
                Attempt::NotEnabled => return Ok(Checked::Wrong),
            }
        }
        let (is_correct, method) = match proof {
            Proof::TotpCode(code) => (self.totp.use_code(tx, user, code, now).await?, Method::Totp),
            Proof::RecoveryCode(code) => {
                (self.totp.use_recovery_code(tx, user, code).await?, Method::RecoveryCode)
            }
            Proof::Passkey(proof) => {
                let checked = self.passkeys.check(tx, ceremony, Some(user), proof, now).await?;
                return Ok(checked.map_or_else(Checked::Rejected, |_| Checked::Proven(Method::Passkey)));
            }
        };
        Ok(if is_correct { Checked::Proven(method) } else { Checked::Wrong })
    }

    /// Confirms the pending authenticator app with a code. From then on, logging in requires a second factor.
    ///
    /// # Errors
    ///
    /// A wrapped [`TotpError::InvalidCode`].
    pub async fn enable(
        &self,
        tx: &Tx,
        user: Uuid,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<RecoveryCode>, SecondFactorsError> {
        let codes = self.totp.confirm(tx, user, code, now).await?;
        accounts::set_mfa_enabled(tx, user, true, now).await?;
        Ok(codes)
    }

    /// Replaces the recovery codes. The caller has locked the user.
    ///
    /// # Errors
    ///
    /// A wrapped [`TotpError::NotEnabled`].
    pub async fn replace_recovery_codes(
        &self,
        tx: &Tx,
        user: Uuid,
    ) -> Result<Vec<RecoveryCode>, SecondFactorsError> {
        Ok(self.totp.replace_recovery_codes(tx, user).await?)
    }
}

/// Returns the second factors of a user who has an authenticator app.
///
/// # Errors
///
/// [`StoreError`].
pub async fn methods(tx: &Tx, user: Uuid) -> Result<Vec<Method>, StoreError> {
    let mut methods = vec![Method::Totp];
    if totp::count_recovery_codes(tx, user).await? > 0 {
        methods.push(Method::RecoveryCode);
    }
    if passkeys::has_any(tx, user).await? {
        methods.push(Method::Passkey);
    }
    Ok(methods)
}

/// Removes the authenticator app and the recovery codes. From then on, logging in requires no second factor.
/// Returns `false` if there was no authenticator app.
///
/// # Errors
///
/// [`StoreError`].
pub async fn disable(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let was_enabled = totp::remove(tx, user).await?;
    if was_enabled {
        accounts::set_mfa_enabled(tx, user, false, now).await?;
    }
    Ok(was_enabled)
}

/// Removes every second factor of the user, which includes all passkeys. This happens when an operator resets
/// the second factors, or when the owner of a mailbox reclaims an account that another person may have
/// created. Returns `false` if the user had no second factor.
///
/// # Errors
///
/// [`StoreError`].
pub async fn remove_all(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let had_app = disable(tx, user, now).await?;
    let had_passkeys = passkeys::remove_all(tx, user).await? > 0;
    Ok(had_app || had_passkeys)
}

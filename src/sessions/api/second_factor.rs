//! `POST /auth/login/mfa`: completes a login with a second factor.

use poem::Request;
use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{Object, OpenApi};

use super::LoggedIn;
use super::only_proof::only_proof;
use crate::metrics::{self, AuthMethod};
use crate::passkeys::api::PasskeyProof;
use crate::second_factors::{Proof, SecondFactorsError};
use crate::sessions::Sessions;
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::examples;
use crate::web::json::Json;
use crate::web::languages::languages;
use crate::web::problem::{FieldError, Problem, ProblemResponse};

/// The token of a login, and one second factor.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct CompleteLogin {
    /// `mfa_token` of the response to the login.
    mfa_token: PasswordText,
    /// Code of the authenticator app: 6 digits. Spaces are ignored.
    #[oai(nullable)]
    totp_code: Option<PasswordText>,
    /// Unused recovery code. Case, spaces and hyphens are ignored.
    #[oai(nullable)]
    recovery_code: Option<PasswordText>,
    /// Response of a passkey to a challenge that was requested from `POST /api/v1/auth/passkeys/options` with
    /// the same `mfa_token`.
    #[oai(nullable)]
    passkey: Option<PasskeyProof>,
}

impl Example for CompleteLogin {
    fn example() -> Self {
        Self {
            mfa_token: PasswordText(examples::MFA_TOKEN.to_owned()),
            totp_code: Some(PasswordText(examples::TOTP_CODE.to_owned())),
            recovery_code: None,
            passkey: None,
        }
    }
}

impl CompleteLogin {
    fn check(self) -> Result<(String, Proof), Vec<FieldError>> {
        let totp_code = self.totp_code.map(|code| Proof::TotpCode(code.0));
        let recovery_code = self.recovery_code.map(|code| Proof::RecoveryCode(code.0));
        let passkey =
            self.passkey.map(|proof| proof.check("/passkey")).transpose().map_err(|error| vec![error])?;
        let passkey = passkey.map(|proof| Proof::Passkey(Box::new(proof)));
        let proofs = [("/totp_code", totp_code), ("/recovery_code", recovery_code), ("/passkey", passkey)];
        let detail = "A code from the authenticator app, a recovery code or a passkey is required.";
        let missing = FieldError::new("/totp_code", "required", detail);
        let proof = only_proof(proofs, missing, "Only one second factor can be sent at a time.")?;
        Ok((self.mfa_token.0, proof))
    }
}

impl From<SecondFactorsError> for Problem {
    fn from(error: SecondFactorsError) -> Self {
        match error {
            SecondFactorsError::Totp(error) => error.into(),
            SecondFactorsError::Accounts(error) => error.into(),
            SecondFactorsError::Store(error) => error.into(),
        }
    }
}

/// The operation that completes a login with a second factor.
#[derive(Debug)]
pub struct SecondFactorApi {
    sessions: Sessions,
}

impl SecondFactorApi {
    /// Creates the operation on top of the services that it calls.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Authentication")]
impl SecondFactorApi {
    /// Complete a login with a second factor
    ///
    /// Completes a login that returned `mfa_required`: creates its session, with the scopes and the device of the
    /// login. The first factor is not needed again.
    ///
    /// - 401 `invalid_credentials`: the code is wrong or was used before, the passkey is not valid, or `mfa_token`
    ///   was used, has expired, or has no attempts left. Show `detail`. After 5 attempts, start the login again.
    /// - 422 `invalid`: the body does not contain exactly one second factor.
    /// - 429 `too_many_attempts`: there were too many wrong codes for this account. Repeat the request after
    ///   `Retry-After` seconds.
    #[oai(path = "/login/mfa", method = "post", operation_id = "complete_login")]
    async fn complete_login(
        &self,
        request: &Request,
        body: Body<CompleteLogin>,
    ) -> Result<LoggedIn, ProblemResponse<401, 429>> {
        let (token, proof) = body.check(|body, _| body.check())?;
        let method = match &proof {
            Proof::TotpCode(_) => AuthMethod::Totp,
            Proof::RecoveryCode(_) => AuthMethod::RecoveryCode,
            Proof::Passkey(_) => AuthMethod::Passkey,
        };
        let completed = self.sessions.complete_login(&token, proof, languages(request)).await;
        metrics::auth_attempted(method, &completed);
        Ok(LoggedIn::Ok(Json(completed?.into()), "no-store".to_owned()))
    }
}

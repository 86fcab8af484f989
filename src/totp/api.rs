//! The HTTP operations on authenticator apps and recovery codes.

use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use super::{Enrolment, RECOVERY_CODES, RecoveryCode, Totp, TotpError};
use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::sessions::Sessions;
use crate::web::Tag;
use crate::web::body::{Body, NoBody};
use crate::web::caller::{AccountScope, Caller, user_deleted};
use crate::web::examples;
use crate::web::json::Json;
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

/// What a user needs to enrol an authenticator app. Show it once; it can't be read again.
#[derive(Debug, Object, Serialize)]
struct TotpEnrolment {
    /// Secret in Base32, to type it into the app.
    secret: String,
    /// `otpauth` URI, to open in an authenticator app on the same device.
    otpauth_uri: String,
    /// The same URI as a QR code, to scan with another device: an SVG document.
    qr_svg: String,
}

/// A code of the authenticator app.
#[derive(Debug, Object)]
struct ConfirmTotp {
    /// Current code of the authenticator app: 6 digits. Spaces are ignored.
    code: PasswordText,
}

/// New recovery codes. Show them once; they can't be read again.
#[derive(Debug, Object, Serialize)]
struct NewRecoveryCodes {
    /// Ten codes, each valid for one login.
    #[oai(validator(max_items = 10))]
    recovery_codes: Vec<String>,
}

/// The number of unused recovery codes.
#[derive(Debug, Object, Serialize)]
struct RecoveryCodeCount {
    /// Number of unused recovery codes.
    #[oai(validator(minimum(value = "0"), maximum(value = "10")))]
    remaining: u64,
}

impl Example for TotpEnrolment {
    fn example() -> Self {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        Self {
            secret: secret.to_owned(),
            otpauth_uri: format!(
                "otpauth://totp/trips.example.org:grace%40example.org?secret={secret}&issuer=trips.example.org"
            ),
            qr_svg: "<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_owned(),
        }
    }
}

impl Example for ConfirmTotp {
    fn example() -> Self {
        Self { code: PasswordText(examples::TOTP_CODE.to_owned()) }
    }
}

impl Example for NewRecoveryCodes {
    fn example() -> Self {
        let code = |letter: char| format!("k4fz-2q7m-x5bd-yw6{letter}");
        Self { recovery_codes: ('a'..='z').take(RECOVERY_CODES).map(code).collect() }
    }
}

impl Example for RecoveryCodeCount {
    fn example() -> Self {
        Self { remaining: 10 }
    }
}

impl From<Enrolment> for TotpEnrolment {
    fn from(enrolment: Enrolment) -> Self {
        Self { secret: enrolment.secret, otpauth_uri: enrolment.uri, qr_svg: enrolment.qr_svg }
    }
}

impl From<Vec<RecoveryCode>> for NewRecoveryCodes {
    fn from(codes: Vec<RecoveryCode>) -> Self {
        Self { recovery_codes: codes.iter().map(RecoveryCode::to_string).collect() }
    }
}

#[derive(ApiResponse)]
enum EnrolledTotp {
    /// The secret of the authenticator app, which is not active yet.
    #[oai(status = 200)]
    Ok(
        Json<TotpEnrolment>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum IssuedCodes {
    /// The new recovery codes. Earlier codes are no longer valid.
    #[oai(status = 200)]
    Ok(
        Json<NewRecoveryCodes>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RemovedTotp {
    /// The authenticator app was removed, or there was none.
    #[oai(status = 204)]
    NoContent,
}

impl From<TotpError> for Problem {
    fn from(error: TotpError) -> Self {
        match error {
            TotpError::InvalidCode => {
                let detail = "The code is wrong or has expired. Please enter the current code of your app.";
                Self::invalid(vec![FieldError::new("/code", "invalid_code", detail)])
            }
            TotpError::NotEnabled => Self::new(
                ProblemCode::NotFound,
                "This account has no authenticator app. Please add one first.",
            ),
            TotpError::NoSuchUser => user_deleted(),
            TotpError::Sealed(error) => Self::new(
                ProblemCode::NoSigningKey,
                "Checking codes is not possible at the moment. Please try again later.",
            )
            .retry_after(60)
            .caused_by(error),
            TotpError::Store(error) => error.into(),
        }
    }
}

fn no_store() -> String {
    "no-store".to_owned()
}

/// The operations on authenticator apps and recovery codes.
#[derive(Debug)]
pub struct TotpApi {
    totp: Totp,
    sessions: Sessions,
    accounts: Accounts,
    clock: Clock,
}

impl TotpApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(totp: &Totp, sessions: &Sessions, accounts: &Accounts, clock: &Clock) -> Self {
        let (sessions, accounts) = (sessions.clone(), accounts.clone());
        Self { totp: totp.clone(), sessions, accounts, clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me", tag = "Tag::Account")]
impl TotpApi {
    /// Begin to enrol an authenticator app
    ///
    /// Creates a secret and returns it as text, as a URI and as a QR code. The authenticator app becomes
    /// active only if it is confirmed with `POST /api/v1/me/totp/confirm` within an hour. An app that was
    /// enrolled before stays active until the new app is confirmed, so a user can move to another phone by
    /// enrolling again.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with `POST /api/v1/me/reauthenticate`.
    #[oai(path = "/totp", method = "post", operation_id = "enrol_totp")]
    async fn enrol(
        &self,
        caller: Caller<AccountScope>,
        _no_body: NoBody,
    ) -> Result<EnrolledTotp, ProblemResponse> {
        caller.require_recent_authentication(self.clock.now())?;
        let user = self.accounts.find(caller.user()).await?;
        let name = user.email.or(user.username).unwrap_or_default();
        let enrolment = self.totp.enrol(user.id, &name).await?;
        Ok(EnrolledTotp::Ok(Json(enrolment.into()), no_store()))
    }

    /// Confirm an authenticator app
    ///
    /// Activates the authenticator app: from now on, a login with the password or with a code from an email also
    /// requires a code of the app, a recovery code or a passkey. A login with a passkey alone still works.
    /// Ends all sessions of the user except the session of this request. Returns ten recovery codes: let the
    /// user store them in a safe place, but not only on the phone, which may be lost.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with `POST /api/v1/me/reauthenticate`.
    /// - 422 `invalid` with the error `invalid_code`: the code is wrong, or the enrolment has expired or was
    ///   replaced. Let the user enter the current code. If the enrolment began more than an hour ago, begin a
    ///   new enrolment.
    #[oai(path = "/totp/confirm", method = "post", operation_id = "confirm_totp")]
    async fn confirm(
        &self,
        caller: Caller<AccountScope>,
        body: Body<ConfirmTotp>,
    ) -> Result<IssuedCodes, ProblemResponse> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        let code = body.accept()?.code;
        let codes = self.sessions.enable_totp(authorization, &code).await?;
        Ok(IssuedCodes::Ok(Json(codes.into()), no_store()))
    }

    /// Remove the authenticator app
    ///
    /// Removes the authenticator app and the recovery codes: from now on, logging in requires no second
    /// factor. Ends all sessions of the user except the session of this request.
    ///
    /// Also succeeds if there is no authenticator app.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with `POST /api/v1/me/reauthenticate`.
    #[oai(path = "/totp", method = "delete", operation_id = "remove_totp")]
    async fn remove(
        &self,
        caller: Caller<AccountScope>,
        _no_body: NoBody,
    ) -> Result<RemovedTotp, ProblemResponse> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        self.sessions.disable_totp(authorization).await?;
        Ok(RemovedTotp::NoContent)
    }

    /// Count the recovery codes
    ///
    /// Returns the number of unused recovery codes; 0 if the account has no authenticator app. When few are
    /// left, offer to replace them.
    #[oai(path = "/recovery-codes", method = "get", operation_id = "count_recovery_codes")]
    async fn count(&self, caller: Caller<AccountScope>) -> Result<Json<RecoveryCodeCount>, ProblemResponse> {
        let remaining = self.totp.count_recovery_codes(caller.user()).await?;
        Ok(Json(RecoveryCodeCount { remaining }))
    }

    /// Replace the recovery codes
    ///
    /// Returns ten new recovery codes. The earlier codes are no longer valid.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with `POST /api/v1/me/reauthenticate`.
    /// - 404 `not_found`: the account has no authenticator app.
    #[oai(path = "/recovery-codes", method = "post", operation_id = "replace_recovery_codes")]
    async fn replace(
        &self,
        caller: Caller<AccountScope>,
        _no_body: NoBody,
    ) -> Result<IssuedCodes, ProblemResponse<404>> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        let codes = self.sessions.replace_recovery_codes(authorization).await?;
        Ok(IssuedCodes::Ok(Json(codes.into()), no_store()))
    }
}

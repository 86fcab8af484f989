//! `POST /me/reauthenticate`: the user authenticates again before a sensitive operation.

use chrono::{DateTime, Utc};
use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::only_proof::only_proof;
use crate::passkeys::api::PasskeyProof;
use crate::second_factors;
use crate::sessions::{Authenticated, Sessions, SessionsError, StepUp};
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AccountScope, Caller, Credential};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::{FieldError, Problem, ProblemResponse};

/// A new proof of the user's identity: exactly one of `password`, `totp_code`, `passkey`, or the pair of
/// `flow_id` and `code`.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Reauthenticate {
    /// Password of the account.
    #[oai(nullable)]
    password: Option<PasswordText>,
    /// Code of the authenticator app: 6 digits. Spaces are ignored.
    #[oai(nullable)]
    totp_code: Option<PasswordText>,
    /// Response of a passkey to the challenge from `POST /api/v1/me/reauthenticate/options`.
    #[oai(nullable)]
    passkey: Option<PasskeyProof>,
    /// `flow_id` from the response of `POST /api/v1/me/reauthenticate/code`. That request must belong to the
    /// same session as this request.
    #[oai(nullable)]
    flow_id: Option<Uuid>,
    /// Code from the email: 8 digits. Spaces and dashes are ignored.
    #[oai(nullable)]
    code: Option<PasswordText>,
}

impl Example for Reauthenticate {
    fn example() -> Self {
        let password = Some(PasswordText(examples::PASSWORD.to_owned()));
        Self { password, totp_code: None, passkey: None, flow_id: None, code: None }
    }
}

/// The proof in a request. A request contains exactly one.
enum Proof {
    Password(PasswordText),
    SecondFactor(second_factors::Proof),
    MailedCode { flow: Uuid, code: String },
}

impl Reauthenticate {
    fn proof(self) -> Result<Proof, Vec<FieldError>> {
        let password = self.password.map(Proof::Password);
        let totp_code = self.totp_code.map(|code| second_factors::Proof::TotpCode(code.0));
        let passkey =
            self.passkey.map(|proof| proof.check("/passkey")).transpose().map_err(|error| vec![error])?;
        let passkey = passkey.map(|proof| second_factors::Proof::Passkey(Box::new(proof)));
        let mailed = match (self.flow_id, self.code) {
            (Some(flow), Some(code)) => Some(Proof::MailedCode { flow, code: code.0 }),
            (None, None) => None,
            (Some(_), None) => return Err(vec![FieldError::new("/code", "required", "Code is required.")]),
            (None, Some(_)) => {
                return Err(vec![FieldError::new("/flow_id", "required", "Flow ID is required.")]);
            }
        };
        let proofs = [
            ("/password", password),
            ("/totp_code", totp_code.map(Proof::SecondFactor)),
            ("/passkey", passkey.map(Proof::SecondFactor)),
            ("/flow_id", mailed),
        ];
        let missing = FieldError::new("/password", "required", "Password is required.");
        only_proof(proofs, missing, "Only one proof can be sent at a time.")
    }
}

/// An access token with a new time of authentication. It replaces the access token of the request; the refresh token
/// stays the same.
#[derive(Debug, Object, Serialize)]
struct StepUpGrant {
    /// Always `Bearer`.
    token_type: String,
    /// Access token. Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Lifetime of the access token in seconds, from `server_time`.
    expires_in: i64,
    /// Id of the session, which stays the same. Absent if the access token of the request belongs to no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// Scopes of the access token, separated by spaces.
    scope: String,
    /// Time on the server.
    #[serde(serialize_with = "serialize_instant")]
    server_time: DateTime<Utc>,
}

impl Example for StepUpGrant {
    fn example() -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: examples::ACCESS_TOKEN.to_owned(),
            expires_in: 900,
            session_id: Some(examples::SESSION),
            scope: examples::SCOPE.to_owned(),
            server_time: examples::at(60),
        }
    }
}

impl From<StepUp> for StepUpGrant {
    fn from(issued: StepUp) -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: issued.access_token,
            expires_in: issued.expires_in_secs,
            session_id: issued.session,
            scope: issued.scopes.to_string(),
            server_time: issued.at,
        }
    }
}

#[derive(ApiResponse)]
enum SteppedUp {
    /// The new access token.
    #[oai(status = 200)]
    Ok(
        Json<StepUpGrant>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// Returns the problem of a wrong code or passkey. The session of the caller stays valid, as after a wrong
/// password.
fn wrong_code(error: SessionsError) -> Problem {
    match error {
        SessionsError::WrongSecondFactor => {
            let detail = "The code is wrong, or was used before. Please enter a new one.";
            Problem::invalid(vec![FieldError::new("/totp_code", "invalid_code", detail)])
        }
        SessionsError::InvalidPasskey(rejection) => {
            let error = FieldError::new("/passkey/credential", "invalid_passkey", rejection.sentence());
            Problem::invalid(vec![error]).caused_by(rejection)
        }
        error => error.into(),
    }
}

/// Returns the user, session, generation, scopes and authentication methods of the caller's credential.
pub(super) fn authenticated(caller: &Caller<AccountScope>) -> Authenticated {
    let generation = match &caller.credential {
        Credential::Token(token) => token.generation,
        Credential::Personal(_) | Credential::Password { .. } => None,
    };
    Authenticated {
        user: caller.user(),
        session: caller.session(),
        generation,
        scopes: caller.scopes(),
        amr: caller.amr(),
        authorization: caller.authorization(),
    }
}

/// The operation by which a user authenticates again.
#[derive(Debug)]
pub struct StepUpApi {
    sessions: Sessions,
}

impl StepUpApi {
    /// Creates the operation on top of the service that it calls.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me", tag = "Tag::Account")]
impl StepUpApi {
    /// Authenticate again
    ///
    /// Verifies a credential of the logged-in user again, and returns an access token of the same session
    /// with the current time as `auth_time`. Sensitive operations require an authentication within the last 5
    /// minutes; otherwise they return 401 `step_up_required`. Replace the access token, keep the refresh
    /// token, and repeat the request.
    ///
    /// - 422 `invalid` with the error `wrong_password`: the password is wrong. The session stays valid. Ask for the
    ///   password again.
    /// - 422 `invalid` with the error `invalid_code`: the code of the authenticator app is wrong, or was used
    ///   before. Ask for a new code.
    /// - 422 `invalid_code`: the code from the email is wrong, was used or replaced, has expired, or belongs to another
    ///   session. After 5 wrong codes, no code is accepted for this `flow_id`. Offer to send a new email.
    /// - 422 `invalid` with the error `invalid_passkey`: the passkey is not valid, or the challenge was used
    ///   or has expired. Begin again with `POST /api/v1/me/reauthenticate/options`.
    /// - 429 `too_many_attempts`: there were too many wrong passwords or codes. Repeat the request after
    ///   `Retry-After` seconds.
    /// - 503 `overloaded`: too many passwords are being checked. Repeat the request after `Retry-After` seconds.
    #[oai(path = "/reauthenticate", method = "post", operation_id = "reauthenticate_me")]
    async fn reauthenticate(
        &self,
        caller: Caller<AccountScope>,
        body: Body<Reauthenticate>,
    ) -> Result<SteppedUp, ProblemResponse<429>> {
        caller.reject_personal_token()?;
        let issued = match body.check(|body, _| body.proof())? {
            Proof::Password(password) => {
                self.sessions.step_up_by_password(authenticated(&caller), &password).await?
            }
            Proof::MailedCode { flow, code } => {
                self.sessions.step_up_by_code(authenticated(&caller), flow, code).await?
            }
            Proof::SecondFactor(proof) => {
                let issued = self.sessions.step_up_by_second_factor(authenticated(&caller), proof).await;
                issued.map_err(wrong_code)?
            }
        };
        Ok(SteppedUp::Ok(Json(issued.into()), "no-store".to_owned()))
    }
}

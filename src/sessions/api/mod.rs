//! Signing up and logging in over HTTP.

mod manage;
mod sessionless_token;

use chrono::{DateTime, Utc};
use poem::http::header;
use poem::{Request, Result as PoemResult};
use poem_openapi::types::{Email as EmailText, Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Device, Grant, SessionsError};
use crate::accounts::Accounts;
use crate::accounts::api::{UserBody, invalid_username};
use crate::accounts::{Email, NewUser, Username};
use crate::clock::Clock;
use crate::passwords::{Passwords, PolicyViolation};
use crate::sessions::Sessions;
use crate::tokens::{Scopes, TokensError};
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{self, AnyScope, Caller, Credential};
use crate::web::examples;
use crate::web::json::{Json, serialize_instant};
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

pub use manage::ManageSessionsApi;
pub use sessionless_token::TokenApi;

/// Somebody who signs up. At least one of `email` and `username` is needed.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct SignUp {
    /// To log in with, and to be reached at. Compared without regard to case.
    #[oai(validator(max_length = 254))]
    email: Option<EmailText>,
    /// To log in with: lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    #[oai(validator(min_length = 3, max_length = 32, pattern = "^[a-z0-9][a-z0-9._-]{2,31}$"))]
    username: Option<String>,
    /// At least 8 characters unless the server is set otherwise, at most 71 bytes in UTF-8, and none of
    /// the passwords that everybody tries first. Nothing else is asked of it: a sentence is fine.
    password: PasswordText,
    /// What to call them.
    #[oai(validator(min_length = 1, max_length = 100))]
    display_name: Option<String>,
    /// What its owner calls this device.
    #[oai(validator(min_length = 1, max_length = 100))]
    device_name: Option<String>,
}

/// Somebody who logs in.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LogIn {
    /// Email address or username.
    identifier: String,
    /// The password.
    password: PasswordText,
    /// What its owner calls this device.
    #[oai(validator(min_length = 1, max_length = 100))]
    device_name: Option<String>,
    /// What the access token shall be good for, separated by spaces: some of `account`, `trips:read`
    /// and `trips:write`. All of them if absent.
    scope: Option<String>,
}

/// What signing up and logging in give. Keep both tokens where other apps can't read them.
#[derive(Debug, Object, Serialize)]
struct TokenGrant {
    /// Always `Bearer`.
    token_type: String,
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// How long the access token is good, in seconds from `server_time`.
    expires_in: i64,
    /// Buys the next grant when the access token has expired, once. Keep it where other apps can't read it.
    refresh_token: String,
    /// How long the refresh token is good if it is not used, in seconds from `server_time`.
    refresh_expires_in: i64,
    /// The session that was begun.
    session_id: Uuid,
    /// What the access token is good for, separated by spaces.
    scope: String,
    /// The server's clock: compare with the device's own.
    #[serde(serialize_with = "serialize_instant")]
    server_time: DateTime<Utc>,
    /// Who.
    user: UserBody,
}

/// What an access token says.
#[derive(Debug, Object, Serialize)]
struct SessionInfo {
    /// Whose it is.
    user_id: Uuid,
    /// The session that it belongs to, if one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// What it is good for, separated by spaces.
    scope: String,
    /// How its owner proved who they are (RFC 8176).
    amr: Vec<String>,
    /// When it was made.
    #[serde(serialize_with = "serialize_instant")]
    issued_at: DateTime<Utc>,
    /// When it ends.
    #[serde(serialize_with = "serialize_instant")]
    expires_at: DateTime<Utc>,
}

#[derive(ApiResponse)]
enum SignedUp {
    /// The account exists and a session has begun.
    #[oai(status = 201)]
    Created(
        Json<TokenGrant>,
        /// Where the account is.
        #[oai(header = "Location")]
        String,
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum LoggedIn {
    /// A session has begun, or goes on.
    #[oai(status = 200)]
    Ok(
        Json<TokenGrant>,
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl Example for SignUp {
    fn example() -> Self {
        Self {
            email: Some(EmailText(examples::EMAIL.to_owned())),
            username: None,
            password: PasswordText(examples::PASSWORD.to_owned()),
            display_name: Some(examples::NAME.to_owned()),
            device_name: Some(examples::DEVICE.to_owned()),
        }
    }
}

impl Example for LogIn {
    fn example() -> Self {
        Self {
            identifier: examples::EMAIL.to_owned(),
            password: PasswordText(examples::PASSWORD.to_owned()),
            device_name: Some(examples::DEVICE.to_owned()),
            scope: None,
        }
    }
}

impl Example for TokenGrant {
    fn example() -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: examples::ACCESS_TOKEN.to_owned(),
            expires_in: 900,
            refresh_token: examples::REFRESH_TOKEN.to_owned(),
            refresh_expires_in: 5_184_000,
            session_id: examples::SESSION,
            scope: examples::SCOPE.to_owned(),
            server_time: examples::at(0),
            user: UserBody::example(),
        }
    }
}

impl Example for SessionInfo {
    fn example() -> Self {
        Self {
            user_id: examples::USER,
            session_id: Some(examples::SESSION),
            scope: examples::SCOPE.to_owned(),
            amr: vec!["pwd".to_owned()],
            issued_at: examples::at(0),
            expires_at: examples::at(900),
        }
    }
}

impl From<Grant> for TokenGrant {
    fn from(grant: Grant) -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: grant.access_token,
            expires_in: grant.expires_in_secs,
            refresh_token: grant.refresh_token,
            refresh_expires_in: grant.refresh_expires_in_secs,
            session_id: grant.session,
            scope: grant.scopes.to_string(),
            server_time: grant.at,
            user: grant.user.into(),
        }
    }
}

impl From<SessionsError> for Problem {
    fn from(error: SessionsError) -> Self {
        match error {
            SessionsError::SignupClosed => {
                Self::new(ProblemCode::SignupClosed, "This server does not accept new accounts.")
            }
            SessionsError::InvalidRefreshToken => caller::invalid_refresh_token(),
            SessionsError::Revoked => caller::session_revoked(),
            SessionsError::NoSuchSession => Self::not_found(),
            SessionsError::Accounts(error) => error.into(),
            SessionsError::Tokens(error) => error.into(),
            SessionsError::Store(error) => error.into(),
        }
    }
}

impl From<TokensError> for Problem {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NoSigningKey => Self::new(
                ProblemCode::NoSigningKey,
                "Logging in is not possible at the moment. Please try again later.",
            )
            .with_header(header::RETRY_AFTER, "60")
            .caused_by(error),
            TokensError::ConcurrentRotation | TokensError::Signing(_) => Self::internal(error),
            TokensError::Store(error) => error.into(),
        }
    }
}

fn policy_code(fault: PolicyViolation) -> &'static str {
    match fault {
        PolicyViolation::TooShort(_) => "too_short",
        PolicyViolation::TooLong => "too_long",
        PolicyViolation::Nul => "invalid_format",
        PolicyViolation::TooCommon => "too_common",
        PolicyViolation::Identifier => "same_as_identifier",
    }
}

impl SignUp {
    /// All faults at once, or who signs up, and on what device.
    fn check(
        self,
        passwords: &Passwords,
        told: &[FieldError],
    ) -> Result<(NewUser, Option<String>), Vec<FieldError>> {
        let mut faults = Vec::new();
        let email = self.email.as_ref().map(|text| text.parse::<Email>());
        if matches!(email, Some(Err(_))) {
            faults.push(FieldError::new(
                "/email",
                "invalid_format",
                "Email address is not valid. Use an address such as ada@example.org.",
            ));
        }
        let username = self.username.as_ref().map(|text| text.parse::<Username>());
        if matches!(username, Some(Err(_))) {
            faults.push(invalid_username());
        }
        let was_sent = |pointer| told.iter().any(|fault| fault.pointer == pointer);
        if email.is_none() && username.is_none() && !was_sent("/email") && !was_sent("/username") {
            faults.push(FieldError::new("/email", "required", "Email address or username is required."));
        }
        let identifiers: Vec<&str> =
            [self.email.as_ref().map(|text| text.as_str()), self.username.as_deref()]
                .into_iter()
                .flatten()
                .collect();
        match passwords.check(&self.password, &identifiers) {
            Ok(password) if faults.is_empty() => {
                let (email, username) = (email.and_then(Result::ok), username.and_then(Result::ok));
                let new = NewUser { email, username, password, display_name: self.display_name };
                Ok((new, self.device_name))
            }
            Ok(_) => Err(faults),
            Err(broken) => {
                faults.push(FieldError::new("/password", policy_code(broken), broken.to_string()));
                Err(faults)
            }
        }
    }
}

impl LogIn {
    fn check(self) -> Result<(Self, Scopes), Vec<FieldError>> {
        let scopes = self.scope.as_ref().map_or(Some(Scopes::all()), |text| Scopes::parse(text));
        let detail =
            "Scope must be one or more of account, trips:read and trips:write, separated by single spaces.";
        scopes
            .map(|scopes| (self, scopes))
            .ok_or_else(|| vec![FieldError::new("/scope", "not_allowed", detail)])
    }
}

/// The operations of this room.
#[derive(Debug)]
pub struct SessionsApi {
    sessions: Sessions,
    accounts: Accounts,
    clock: Clock,
}

impl SessionsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(sessions: &Sessions, accounts: &Accounts, clock: &Clock) -> Self {
        Self { sessions: sessions.clone(), accounts: accounts.clone(), clock: clock.clone() }
    }
}

#[expect(clippy::unused_async, reason = "every operation is asynchronous to the router")]
#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Authentication")]
impl SessionsApi {
    /// Sign up
    ///
    /// For somebody who is new: makes an account and begins its first session, so that nobody has to log in
    /// after signing up. Ask for an email address or a username, or both.
    ///
    /// 409 `identifier_taken` if somebody has the email address or the username already: offer to log in. 422
    /// lists everything that is wrong with the input at once, the password too. 403 `signup_closed` where the
    /// server takes no new accounts.
    #[oai(path = "/signup", method = "post", operation_id = "sign_up")]
    async fn sign_up(
        &self,
        request: &Request,
        body: Body<SignUp>,
    ) -> Result<SignedUp, ProblemResponse<403, 409>> {
        let (new, device_name) = body.check(|body, told| body.check(self.accounts.passwords(), told))?;
        let grant = self.sessions.sign_up(new, device(request, device_name)).await?;
        Ok(SignedUp::Created(Json(grant.into()), "/api/v1/me".to_owned(), "no-store".to_owned()))
    }

    /// Log in
    ///
    /// For somebody who has an account, on a new device or after their session has ended: begins a session.
    /// Keep both tokens, and refresh instead of logging in again. With `scope` the access token is good for
    /// less.
    ///
    /// 401 `invalid_credentials` says the same of an unknown identifier as of a wrong password. 503
    /// `overloaded` with `Retry-After` if too many people log in at once: wait, and send the same again.
    #[oai(path = "/login", method = "post", operation_id = "log_in")]
    async fn log_in(&self, request: &Request, body: Body<LogIn>) -> Result<LoggedIn, ProblemResponse<401>> {
        let (LogIn { identifier, password, device_name, .. }, scopes) = body.check(|body, _| body.check())?;
        let device = device(request, device_name);
        let grant = self.sessions.log_in(&identifier, &password, scopes, device).await?;
        Ok(LoggedIn::Ok(Json(grant.into()), "no-store".to_owned()))
    }

    /// Is my token still good?
    ///
    /// Asks what the access token says, and so whether it is still good, without reading anything else: as when
    /// an app comes to the foreground. `expires_at` is when to have refreshed.
    ///
    /// 401 `invalid_token` if it has expired or was ended: refresh.
    #[oai(path = "/session", method = "get", operation_id = "get_session")]
    async fn session(&self, caller: Caller<AnyScope>) -> PoemResult<Json<SessionInfo>> {
        let (issued_at, expires_at) = match &caller.credential {
            Credential::Token(token) => (token.issued_at, token.expires_at),
            // A password is good for the request that it came with.
            Credential::Password(_) => (self.clock.now(), self.clock.now()),
        };
        Ok(Json(SessionInfo {
            user_id: caller.user(),
            session_id: caller.session(),
            scope: caller.scopes().to_string(),
            amr: caller.amr(),
            issued_at,
            expires_at,
        }))
    }
}

fn device(request: &Request, name: Option<String>) -> Device {
    Device::new(name, request.header(header::USER_AGENT))
}

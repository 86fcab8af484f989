//! The HTTP operations that sign up, log in, and show the current session.

mod errors;
mod login_code;
mod manage;
mod only_proof;
mod passkeys;
mod password;
mod second_factor;
mod sessionless_token;
mod sign_up_body;
mod signed_up;
mod step_up;

use chrono::{DateTime, Utc};
use poem::http::header;
use poem::{Request, Result as PoemResult};
use poem_openapi::types::{Example, Password as PasswordText};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{Device, Grant, SigningUp};
use crate::accounts::Accounts;
use crate::accounts::LoginAttempt;
use crate::accounts::api::UserBody;
use crate::clock::Clock;
use crate::metrics::{self, AuthMethod};
use crate::sessions::Sessions;
use crate::tokens::Scopes;
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{AnyScope, Caller, Credential};
use crate::web::client_address::ClientAddress;
use crate::web::examples;
use crate::web::json::{Json, serialize_instant, serialize_optional_instant};
use crate::web::languages::languages;
use crate::web::plain_text::Line;
use crate::web::problem::{FieldError, ProblemResponse};

pub use login_code::LoginCodeApi;
pub use manage::ManageSessionsApi;
pub use passkeys::PasskeyLoginApi;
pub use password::PasswordApi;
pub use second_factor::SecondFactorApi;
pub use sessionless_token::TokenApi;
use sign_up_body::{CheckedSignUp, SignUp};
use signed_up::SignedUp;
pub use step_up::StepUpApi;

/// The credentials of a user, and the requested scopes.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct LogIn {
    /// Email address or username. Compared without regard to case; white space around it is removed.
    identifier: String,
    /// Password of the account.
    password: PasswordText,
    /// Name of the device in the user's list of sessions, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    device_name: Option<Line>,
    /// The `device_token` of the last `TokenGrant` of this user on this device. With this token, failed
    /// logins on other devices do not cause a 429 response to this login. A token that is not valid has no
    /// effect.
    #[oai(nullable)]
    device_token: Option<String>,
    /// Scopes of the access token, separated by spaces: one or more of `account`, `trips:read` and
    /// `trips:write`. Default: all of them.
    #[oai(nullable)]
    scope: Option<String>,
}

/// An access token and a refresh token. Store both where other apps can't read them.
#[derive(Debug, Object, Serialize)]
struct TokenGrant {
    /// Always `Bearer`.
    token_type: String,
    /// Access token. Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Lifetime of the access token in seconds, from `server_time`.
    expires_in: i64,
    /// Refresh token. When the access token expires, exchange the refresh token for the next grant; this
    /// works once. Store it where other apps can't read it.
    refresh_token: String,
    /// Lifetime of the refresh token in seconds, from `server_time`, if it is not used.
    refresh_expires_in: i64,
    /// Id of the session.
    session_id: Uuid,
    /// Scopes of the access token, separated by spaces.
    scope: String,
    /// Time on the server. Compare it with the device's own clock.
    #[serde(serialize_with = "serialize_instant")]
    server_time: DateTime<Utc>,
    /// Proves that the user has logged in on this device before. Store it, keep it after a logout, and send
    /// it with the next login: attacks from other devices then do not block the login. It does not replace
    /// the password. It is valid for a year, or until the password changes if that is earlier.
    device_token: String,
    /// Id of the flow that confirms the email address. Send it with the code from the confirmation email to
    /// `POST /api/v1/auth/email/confirm`. Present only if the sign-up has sent this email.
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<Uuid>,
    /// Account of the user.
    user: UserBody,
}

/// The content of the access token.
#[derive(Debug, Object, Serialize)]
struct SessionInfo {
    /// Id of the user.
    user_id: Uuid,
    /// Id of the session. Absent if the token belongs to no session.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    /// Scopes of the access token, separated by spaces.
    scope: String,
    /// Methods by which the user was authenticated, such as `pwd` (RFC 8176).
    amr: Vec<String>,
    /// Time when the token was issued.
    #[serde(serialize_with = "serialize_instant")]
    issued_at: DateTime<Utc>,
    /// Time when the token expires. Absent if a personal access token does not expire.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
}

#[derive(ApiResponse)]
enum LoggedIn {
    /// The tokens of the session.
    #[oai(status = 200)]
    Ok(
        Json<TokenGrant>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl Example for LogIn {
    fn example() -> Self {
        Self {
            identifier: examples::EMAIL.to_owned(),
            password: PasswordText(examples::PASSWORD.to_owned()),
            device_name: Line::parse(examples::DEVICE),
            device_token: Some(examples::DEVICE_TOKEN.to_owned()),
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
            device_token: examples::DEVICE_TOKEN.to_owned(),
            flow_id: None,
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
            expires_at: Some(examples::at(900)),
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
            device_token: grant.device_token,
            flow_id: grant.flow,
            user: grant.user.into(),
        }
    }
}

impl LogIn {
    fn check(self) -> Result<(Self, Scopes), Vec<FieldError>> {
        let scopes = parse_scopes(self.scope.as_deref()).map_err(|error| vec![error])?;
        Ok((self, scopes))
    }
}

/// Returns the requested scopes, or all scopes if the request names none.
fn parse_scopes(text: Option<&str>) -> Result<Scopes, FieldError> {
    let detail =
        "Scope must be one or more of account, trips:read and trips:write, separated by single spaces.";
    let scopes = text.map_or(Some(Scopes::all()), Scopes::parse);
    scopes.ok_or_else(|| FieldError::new("/scope", "not_allowed", detail))
}

/// The operations that create and show sessions.
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
    /// Creates an account and its first session, so the user is logged in after signing up. Ask the user
    /// for an email address, a username, or both. If there is an email address, the server sends an
    /// email with a code and a link, each of which confirms the address. To confirm with the code, call
    /// `POST /api/v1/auth/email/confirm` with the code and the `flow_id` of this response.
    ///
    /// If the server requires a confirmed address, `email` is required, and signing up creates no session: a
    /// successful response is always 202 with a `flow_id` and without tokens, even if the address already
    /// belongs to an account. Confirm the address, then log in.
    ///
    /// - 403 `signup_closed`: the server does not accept new accounts.
    /// - 403 `invite_required`: the server requires an invitation, and `invite_code` is missing, wrong, used up or
    ///   expired. Ask the user for an invitation code.
    /// - 409 `identifier_taken`: another account has the email address or the username. Let the user log in,
    ///   or enter another address or username. Not returned if the server requires a confirmed address.
    /// - 422 `invalid`: `errors` lists all errors in the input at once, including those of the password.
    /// - 429 `too_many_attempts`: from this IP address, there were too many sign-ups with a taken email
    ///   address, a taken username or a wrong invitation code. Wait for `Retry-After` seconds.
    #[oai(path = "/signup", method = "post", operation_id = "sign_up")]
    async fn sign_up(
        &self,
        request: &Request,
        body: Body<SignUp>,
    ) -> Result<SignedUp, ProblemResponse<403, 409, 429>> {
        let CheckedSignUp { new, device_name, invite_code } =
            body.check(|body, errors| body.check(&self.accounts, errors))?;
        let device = device(request, device_name);
        let client = SigningUp { device, address: ClientAddress::of(request).0, invite_code };
        // Boxed, because the future is large: it contains several transactions.
        let signed_up = Box::pin(self.sessions.sign_up(new, client)).await?;
        Ok(signed_up.into())
    }

    /// Log in
    ///
    /// Creates a session for an existing account, on a new device or after the previous session has ended.
    /// Store both tokens. When the access token expires, refresh the tokens instead of logging in again.
    /// `scope` limits what the access token may be used for.
    ///
    /// - 401 `invalid_credentials`: the identifier is unknown, or the password is wrong; the response is the
    ///   same in both cases. Let the user enter the identifier and the password again.
    /// - 401 `mfa_required`: the password is correct, and the account requires a second factor. Ask the user for
    ///   one of the second factors in `methods`, and send it with `mfa_token` to
    ///   `POST /api/v1/auth/login/mfa` within 5 minutes.
    /// - 429 `too_many_attempts`: there were too many failed logins for this identifier or from this IP
    ///   address. The response is the same for unknown identifiers. Wait for `Retry-After` seconds.
    /// - 403 `unconfirmed_account`: the password is correct, but this server requires that the email address
    ///   is confirmed first. Ask the user for the code from the confirmation email, and send it to
    ///   `POST /api/v1/auth/email/confirm`.
    /// - 503 `overloaded`: too many users are logging in. Repeat the request after `Retry-After` seconds.
    #[oai(path = "/login", method = "post", operation_id = "log_in")]
    async fn log_in(
        &self,
        request: &Request,
        body: Body<LogIn>,
    ) -> Result<LoggedIn, ProblemResponse<401, 403, 429>> {
        let (LogIn { identifier, password, device_name, device_token, .. }, scopes) =
            body.check(|body, _| body.check())?;
        let device = device(request, device_name.map(String::from));
        let ClientAddress(address) = ClientAddress::of(request);
        let device_token = device_token.as_deref();
        let login = LoginAttempt { identifier: &identifier, password: &password, address, device_token };
        let logged_in = self.sessions.log_in(&login, scopes, device).await;
        metrics::auth_attempted(AuthMethod::Password, &logged_in);
        let grant = logged_in?;
        Ok(LoggedIn::Ok(Json(grant.into()), "no-store".to_owned()))
    }

    /// Get the current session
    ///
    /// Verifies the access token and returns its content. An app can send this request whenever the app comes
    /// to the foreground: the server checks the token without querying the database, so the response is fast.
    /// Refresh the tokens before `expires_at`.
    ///
    /// - 401 `invalid_token`: the token has expired or was revoked. Get a new one: send the refresh token to
    ///   `POST /api/v1/auth/refresh`.
    #[oai(path = "/session", method = "get", operation_id = "get_session")]
    async fn session(&self, caller: Caller<AnyScope>) -> PoemResult<Json<SessionInfo>> {
        let (issued_at, expires_at) = match &caller.credential {
            Credential::Token(token) => (token.issued_at, Some(token.expires_at)),
            Credential::Personal(token) => (token.created_at, token.expires_at),
            // A password is valid only for the request that contains it.
            Credential::Password { .. } => (self.clock.now(), Some(self.clock.now())),
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
    Device::new(name, request.header(header::USER_AGENT), languages(request))
}

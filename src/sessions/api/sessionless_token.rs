//! `POST /auth/tokens`: issues an access token without a session. The client sends an identifier and a
//! password by HTTP Basic authentication.

use poem::Request;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;

use crate::accounts::AccountsError;
use crate::sessions::Sessions;
use crate::sessions::{SessionlessToken, SessionsError};
use crate::web::Tag;
use crate::web::body::NoBody;
use crate::web::caller::{BasicCredentials, invalid_basic_credentials};
use crate::web::examples;
use crate::web::json::Json;
use crate::web::problem::ProblemResponse;

/// An access token that belongs to no session. Store it where other apps can't read it.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "AccessTokenGrant")]
struct SessionlessGrant {
    /// Always `Bearer`.
    token_type: String,
    /// Access token. Send it as `Authorization: Bearer …`.
    access_token: String,
    /// Lifetime of the access token in seconds, from the time of the response.
    expires_in: i64,
    /// Scopes of the access token, separated by spaces.
    scope: String,
}

impl Example for SessionlessGrant {
    fn example() -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: examples::ACCESS_TOKEN.to_owned(),
            expires_in: 900,
            scope: examples::SCOPE.to_owned(),
        }
    }
}

impl From<SessionlessToken> for SessionlessGrant {
    fn from(token: SessionlessToken) -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: token.access_token,
            expires_in: token.expires_in_secs,
            scope: token.scopes.to_string(),
        }
    }
}

#[derive(ApiResponse)]
enum IssuedToken {
    /// The new access token.
    #[oai(status = 200)]
    Ok(
        Json<SessionlessGrant>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The operation that issues access tokens by HTTP Basic authentication.
#[derive(Debug)]
pub struct TokenApi {
    sessions: Sessions,
}

impl TokenApi {
    /// Creates the operation on top of the service that it calls.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Authentication")]
impl TokenApi {
    /// Get an access token with a password
    ///
    /// Issues an access token for Basic credentials: the email address or username, and the password. This
    /// operation is for scripts: it creates no session, so there is no refresh token. After the access token has
    /// expired, send the password again. Apps use `POST /api/v1/auth/login` instead. The request has no body.
    ///
    /// - 401 `invalid_credentials`: the email address or username is unknown, or the password is wrong. A token
    ///   is not accepted in place of either.
    /// - 401 `mfa_required`: the password is correct, but the account requires a second factor. Use
    ///   `POST /api/v1/auth/login` instead.
    /// - 401 `unauthenticated`: the request has no Basic credentials, for example because it has a `Bearer`
    ///   header.
    /// - 429 `too_many_attempts`: there were too many wrong passwords. Wait for `Retry-After` seconds.
    /// - 403 `unconfirmed_account`: the password is correct, but this server requires that the email address
    ///   is confirmed first. Ask the user for the code from the confirmation email, and send it to
    ///   `POST /api/v1/auth/email/confirm`.
    /// - 503 `overloaded`: too many users are logging in. Repeat the request after `Retry-After` seconds.
    #[oai(path = "/tokens", method = "post", operation_id = "create_token")]
    async fn create_token(
        &self,
        request: &Request,
        basic: BasicCredentials,
        _no_body: NoBody,
    ) -> Result<IssuedToken, ProblemResponse<403>> {
        match self.sessions.issue_token(&basic.attempt(request)).await {
            Ok(token) => Ok(IssuedToken::Ok(Json(token.into()), "no-store".to_owned())),
            Err(SessionsError::Accounts(AccountsError::InvalidCredentials)) => {
                Err(invalid_basic_credentials().into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

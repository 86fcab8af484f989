//! `POST /auth/tokens`: an access token for a password, by Basic authentication alone.

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

/// An access token that belongs to no session. Keep it where other apps can't read it.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "AccessTokenGrant")]
struct SessionlessGrant {
    /// Always `Bearer`.
    token_type: String,
    /// Send it as `Authorization: Bearer …`.
    access_token: String,
    /// How long the access token is good, in seconds from now.
    expires_in: i64,
    /// What the access token is good for, separated by spaces.
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
    fn from(bare: SessionlessToken) -> Self {
        Self {
            token_type: "Bearer".to_owned(),
            access_token: bare.access_token,
            expires_in: bare.expires_in_secs,
            scope: bare.scopes.to_string(),
        }
    }
}

#[derive(ApiResponse)]
enum IssuedToken {
    /// A token was made.
    #[oai(status = 200)]
    Ok(
        Json<SessionlessGrant>,
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// What Basic credentials buy.
#[derive(Debug)]
pub struct TokenApi {
    sessions: Sessions,
}

impl TokenApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Authentication")]
impl TokenApi {
    /// Buy a token with a password
    ///
    /// For scripts: an access token for Basic credentials, without a session, so without a refresh token. Send
    /// the password again when it has expired. Apps log in instead. Takes no body.
    ///
    /// 401 `invalid_credentials` if the password is wrong. A token never buys a token: one in place of the user
    /// name or the password, and any `Bearer` header, is 401 too. 503 `overloaded` with `Retry-After` if too
    /// many people log in at once.
    #[oai(path = "/tokens", method = "post", operation_id = "create_token")]
    async fn create_token(
        &self,
        basic: BasicCredentials,
        _nothing: NoBody,
    ) -> Result<IssuedToken, ProblemResponse> {
        match self.sessions.issue_token(&basic.identifier, &basic.password).await {
            Ok(bare) => Ok(IssuedToken::Ok(Json(bare.into()), "no-store".to_owned())),
            Err(SessionsError::Accounts(AccountsError::InvalidCredentials)) => {
                Err(invalid_basic_credentials().into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

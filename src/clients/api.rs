//! Introspection and revocation over HTTP, for services that have credentials of their own.

use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{ActiveToken, ClientsError};
use crate::clients::Introspector;
use crate::db::StoreError;
use crate::tokens::CLIENT_ID;
use crate::web::Tag;
use crate::web::caller;
use crate::web::client::AuthenticatedClient;
use crate::web::examples;
use crate::web::form::Form;
use crate::web::json::Json;
use crate::web::problem::{Problem, ProblemResponse};

/// A token that a service was shown.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ShownToken {
    /// An access token or a refresh token.
    token: String,
    /// What the service takes it for, `access_token` or `refresh_token`. Tokens tell by themselves what
    /// they are, so it changes nothing.
    token_type_hint: Option<String>,
}

impl Example for ShownToken {
    fn example() -> Self {
        Self { token: examples::ACCESS_TOKEN.to_owned(), token_type_hint: Some("access_token".to_owned()) }
    }
}

/// What a token is (RFC 7662 §2.2). Of a token that is not good, `active` alone is told.
#[derive(Debug, Default, Object, Serialize)]
struct Introspection {
    /// Whether it is good at this moment.
    active: bool,
    /// What it may be used for, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// The app that it was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// `Bearer` for an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// When it was made, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// The id of the user whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// For whom it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// Its own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// The session that it belongs to, if one is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
}

impl Example for Introspection {
    fn example() -> Self {
        let text = |text: &str| Some(text.to_owned());
        Self {
            active: true,
            scope: text(examples::SCOPE),
            client_id: text(CLIENT_ID),
            token_type: text("Bearer"),
            exp: Some(examples::at(900).timestamp()),
            iat: Some(examples::at(0).timestamp()),
            sub: Some(examples::USER),
            aud: text("tripgate"),
            iss: text(examples::SERVER),
            jti: Some(Uuid::from_u128(0x019c_adb9_5029_7000_b1f6_2d0c_97ae_5310)),
            sid: Some(examples::SESSION),
        }
    }
}

impl From<ActiveToken> for Introspection {
    fn from(token: ActiveToken) -> Self {
        let (iat, aud, jti) = match token.access {
            Some(access) => (Some(access.issued_at.timestamp()), Some(access.audience), Some(access.id)),
            None => (None, None, None),
        };
        Self {
            active: true,
            scope: Some(token.scopes.to_string()),
            client_id: Some(token.client_id.to_owned()),
            token_type: jti.map(|_| "Bearer".to_owned()),
            exp: Some(token.expires_at.timestamp()),
            iat,
            sub: Some(token.user),
            aud,
            iss: Some(token.issuer),
            jti,
            sid: token.session,
        }
    }
}

#[derive(ApiResponse)]
enum Introspected {
    /// What it is.
    #[oai(status = 200)]
    Ok(
        Json<Introspection>,
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Revoked {
    /// Nobody gets in with it any more.
    #[oai(status = 200)]
    Ok(
        /// Nobody may keep this answer but its recipient.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

impl From<ClientsError> for Problem {
    fn from(error: ClientsError) -> Self {
        match error {
            ClientsError::InvalidCredentials => caller::invalid_client(),
            ClientsError::Unverifiable => StoreError::unavailable().into(),
            ClientsError::Sessions(error) => error.into(),
            ClientsError::Store(error) => error.into(),
            // Only an operator meets these, and not over HTTP.
            ClientsError::InvalidName | ClientsError::NameTaken | ClientsError::NoSuchClient => {
                Self::internal(error)
            }
        }
    }
}

/// The operations of this room.
#[derive(Debug)]
pub struct ClientsApi {
    introspector: Introspector,
}

impl ClientsApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(introspector: &Introspector) -> Self {
        Self { introspector: introspector.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Services")]
impl ClientsApi {
    /// What is this token?
    ///
    /// For a service that was shown a token and does not verify it by itself (RFC 7662): once for each request
    /// if a token that was ended must be refused at once, or else verify it with the public keys. A refresh
    /// token is not used up by it.
    ///
    /// Of a token that is unknown, expired or revoked, whatever the reason, the answer is 200 with
    /// `{"active":false}`. 401 `invalid_client` if it is the service that is not known.
    #[oai(path = "/introspect", method = "post", operation_id = "introspect_token")]
    async fn introspect(
        &self,
        _service: AuthenticatedClient,
        form: Form<ShownToken>,
    ) -> Result<Introspected, ProblemResponse> {
        let found = self.introspector.introspect(&form.0.token).await?;
        let told = found.map_or_else(Introspection::default, Introspection::from);
        Ok(Introspected::Ok(Json(told), "no-store".to_owned()))
    }

    /// End a token
    ///
    /// For a service that knows of a token in wrong hands (RFC 7009). An access token is refused from now on,
    /// within a second on every server, and its session goes on; a refresh token takes its session with it, and
    /// all access tokens of that.
    ///
    /// The answer is the same for a token that is unknown or not good any more. 401 `invalid_client` if it is
    /// the service that is not known.
    #[oai(path = "/revoke", method = "post", operation_id = "revoke_token")]
    async fn revoke(
        &self,
        _service: AuthenticatedClient,
        form: Form<ShownToken>,
    ) -> Result<Revoked, ProblemResponse> {
        self.introspector.revoke(&form.0.token).await?;
        Ok(Revoked::Ok("no-store".to_owned()))
    }
}

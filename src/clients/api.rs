//! The HTTP operations on tokens for services that have client credentials: introspection and revocation.

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

/// A token that a service has received.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ShownToken {
    /// Access token, refresh token or personal access token.
    token: String,
    /// Type of the token: `access_token` or `refresh_token`. Has no effect, because the server recognizes the
    /// type of a token.
    token_type_hint: Option<String>,
}

impl Example for ShownToken {
    fn example() -> Self {
        Self { token: examples::ACCESS_TOKEN.to_owned(), token_type_hint: Some("access_token".to_owned()) }
    }
}

/// The metadata of a token (RFC 7662 §2.2). If the token is not valid, the metadata consists of `active`
/// only.
#[derive(Debug, Default, Object, Serialize)]
struct Introspection {
    /// Whether the token is valid now.
    active: bool,
    /// Scopes of the token, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Id of the app that the token was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// `Bearer` for an access token or a personal access token. Absent for a refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    /// Time when the token expires, in seconds since 1970. Absent if a personal access token does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// Time when the token was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Uuid>,
    /// Audience of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// Issuer of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// Id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    /// Id of the session. Absent if the token belongs to no session.
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
            exp: token.expires_at.map(|at| at.timestamp()),
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
    /// The metadata of the token.
    #[oai(status = 200)]
    Ok(
        Json<Introspection>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Revoked {
    /// The token is no longer valid.
    #[oai(status = 200)]
    Ok(
        /// `no-store`: the response must not be cached.
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
            ClientsError::Throttled(blocked) => blocked.into(),
            ClientsError::Store(error) => error.into(),
            // Only `tripgate clients` returns these errors; a request never causes them.
            ClientsError::InvalidName | ClientsError::NameTaken | ClientsError::NoSuchClient => {
                Self::internal(error)
            }
        }
    }
}

/// The operations for services that have client credentials.
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
    /// Introspect a token
    ///
    /// Returns whether a token is valid, and its metadata (RFC 7662). This operation is for services that do
    /// not verify tokens themselves. A service that must reject a token as soon as it is revoked must call
    /// this operation for each request that it receives. A service that may accept a revoked access token
    /// until it expires can verify access tokens with the public keys instead. Introspecting a refresh token
    /// does not count as its use.
    ///
    /// If the token is unknown, expired or revoked, the response is 200 with `{"active":false}`, which does
    /// not contain the reason.
    ///
    /// - 401 `invalid_client`: the client id or the client secret is missing or wrong. Ask the operator for
    ///   new client credentials.
    /// - 429 `too_many_attempts`: there were too many requests with wrong client credentials. Wait for
    ///   `Retry-After` seconds.
    #[oai(path = "/introspect", method = "post", operation_id = "introspect_token")]
    async fn introspect(
        &self,
        _client: AuthenticatedClient,
        form: Form<ShownToken>,
    ) -> Result<Introspected, ProblemResponse> {
        let found = self.introspector.introspect(&form.0.token).await?;
        let introspection = found.map_or_else(Introspection::default, Introspection::from);
        Ok(Introspected::Ok(Json(introspection), "no-store".to_owned()))
    }

    /// Revoke a token
    ///
    /// Revokes a token, for example one that was stolen (RFC 7009). For an access token, only this token
    /// becomes invalid, and its session continues. For a refresh token, the session ends, and all access
    /// tokens of the session become invalid. A personal access token is removed. The replica that
    /// handles the request rejects the token immediately; all other replicas reject it within a second.
    ///
    /// The response is the same for a token that is unknown or no longer valid.
    ///
    /// - 401 `invalid_client`: the client id or the client secret is missing or wrong. Ask the operator for
    ///   new client credentials.
    /// - 429 `too_many_attempts`: there were too many requests with wrong client credentials. Wait for
    ///   `Retry-After` seconds.
    #[oai(path = "/revoke", method = "post", operation_id = "revoke_token")]
    async fn revoke(
        &self,
        _client: AuthenticatedClient,
        form: Form<ShownToken>,
    ) -> Result<Revoked, ProblemResponse> {
        self.introspector.revoke(&form.0.token).await?;
        Ok(Revoked::Ok("no-store".to_owned()))
    }
}

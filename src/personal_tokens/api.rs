//! The HTTP operations on personal access tokens.

use chrono::{DateTime, Utc};
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use uuid::Uuid;

use super::{MAX_TOKENS, NewPersonalToken, PersonalToken, PersonalTokens, PersonalTokensError};
use crate::clock::Clock;
use crate::tokens::{Scope, Scopes};
use crate::web::Tag;
use crate::web::body::Body;
use crate::web::caller::{self, AccountScope, Caller};
use crate::web::examples;
use crate::web::instant::Instant;
use crate::web::json::{Json, serialize_instant, serialize_optional_instant};
use crate::web::path_id::PathId;
use crate::web::plain_text::Line;
use crate::web::problem::{FieldError, Problem, ProblemCode, ProblemResponse};

/// The id of the token in the examples.
const EXAMPLE_ID: Uuid = Uuid::from_u128(0x019c_adb9_a410_7000_8a55_1f0c_93d2_7e64);
/// The token in the examples. Its checksum is wrong, so that the token is never valid.
const EXAMPLE_TOKEN: &str = "tgp_019cadb9a41070008a551f0c93d27e6400000000000000000000000000000000000000000000000000000000000000000000000000000000";
const EXAMPLE_NAME: &str = "Calendar export";
const EXAMPLE_SCOPE: &str = "trips:read";

/// A personal access token to create.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct CreatePersonalToken {
    /// Name in the user's list of tokens, 1 to 100 characters in one line.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: Line,
    /// Scopes of the token, separated by spaces: one or more of `account`, `trips:read` and `trips:write`. The
    /// access token of this request must have them too.
    scope: String,
    /// Time when the token expires, in the future. Without it, the token is valid until it is removed.
    #[oai(nullable)]
    expires_at: Option<Instant>,
    /// Whether the token can also be used for HTTP Digest (RFC 7616). Requires that the operator has enabled
    /// HTTP Digest.
    #[oai(nullable)]
    digest: Option<bool>,
}

/// A personal access token, without its secret.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "PersonalToken")]
pub(crate) struct PersonalTokenBody {
    /// Id of the token. It is the user name for HTTP Digest.
    id: Uuid,
    /// Name that the user chose.
    name: String,
    /// Scopes of the token, separated by spaces.
    scope: String,
    /// Time when the token was created.
    #[serde(serialize_with = "serialize_instant")]
    created_at: DateTime<Utc>,
    /// Time when the token expires. Absent if it does not expire.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// Time when the token was last used, accurate to a minute. Absent if it was never used.
    #[serde(serialize_with = "serialize_optional_instant", skip_serializing_if = "Option::is_none")]
    last_used_at: Option<DateTime<Utc>>,
    /// Whether the token can also be used for HTTP Digest.
    digest: bool,
    /// The token. Present only in the response to its creation; it can't be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The personal access tokens of the user.
#[derive(Debug, Object, Serialize)]
struct PersonalTokenList {
    /// Tokens, the newest first. Expired tokens are listed for 30 days.
    #[oai(validator(max_items = 50))]
    items: Vec<PersonalTokenBody>,
}

impl Example for CreatePersonalToken {
    fn example() -> Self {
        Self {
            name: Line::parse(EXAMPLE_NAME).unwrap_or_default(),
            scope: EXAMPLE_SCOPE.to_owned(),
            expires_at: None,
            digest: None,
        }
    }
}

impl Example for PersonalTokenBody {
    fn example() -> Self {
        Self {
            id: EXAMPLE_ID,
            name: EXAMPLE_NAME.to_owned(),
            scope: EXAMPLE_SCOPE.to_owned(),
            created_at: examples::at(0),
            expires_at: None,
            last_used_at: None,
            digest: false,
            token: Some(EXAMPLE_TOKEN.to_owned()),
        }
    }
}

impl Example for PersonalTokenList {
    fn example() -> Self {
        Self { items: vec![PersonalTokenBody { token: None, ..PersonalTokenBody::example() }] }
    }
}

impl From<PersonalToken> for PersonalTokenBody {
    fn from(token: PersonalToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scope: token.scopes.to_string(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
            digest: token.digest,
            token: None,
        }
    }
}

impl CreatePersonalToken {
    fn check(self, now: DateTime<Utc>) -> Result<NewPersonalToken, Vec<FieldError>> {
        let mut errors = Vec::new();
        let scopes = Scopes::parse(&self.scope);
        if scopes.is_none() {
            let detail = "Scope must be one or more of account, trips:read and trips:write, separated by \
                single spaces.";
            errors.push(FieldError::new("/scope", "not_allowed", detail));
        }
        if self.expires_at.is_some_and(|expires_at| expires_at.0 <= now) {
            errors.push(FieldError::new("/expires_at", "in_the_past", "Expires at must be in the future."));
        }
        match scopes {
            Some(scopes) if errors.is_empty() => Ok(NewPersonalToken {
                name: self.name.into(),
                scopes,
                expires_at: self.expires_at.map(|expires_at| expires_at.0),
                digest: self.digest.unwrap_or_default(),
            }),
            _ => Err(errors),
        }
    }
}

impl From<PersonalTokensError> for Problem {
    fn from(error: PersonalTokensError) -> Self {
        match error {
            PersonalTokensError::NotFound => Self::not_found(),
            PersonalTokensError::NotLoggedIn => caller::user_deleted(),
            PersonalTokensError::TooMany => Self::new(
                ProblemCode::QuotaExceeded,
                format!(
                    "You have {MAX_TOKENS} personal access tokens, which is the maximum. Remove one first."
                ),
            ),
            PersonalTokensError::Encryption => Self::internal(error),
            PersonalTokensError::Store(error) => error.into(),
        }
    }
}

#[derive(ApiResponse)]
enum CreatedToken {
    /// The new token. No later response contains its text.
    #[oai(status = 201)]
    Created(
        Json<PersonalTokenBody>,
        /// `no-store`: the response must not be cached.
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RemovedToken {
    /// The token was removed.
    #[oai(status = 204)]
    NoContent,
}

/// The operations on personal access tokens.
#[derive(Debug)]
pub struct PersonalTokensApi {
    tokens: PersonalTokens,
    clock: Clock,
}

impl PersonalTokensApi {
    /// Creates the operations on top of the services that they call.
    pub fn new(tokens: &PersonalTokens, clock: &Clock) -> Self {
        Self { tokens: tokens.clone(), clock: clock.clone() }
    }
}

#[OpenApi(prefix_path = "/api/v1/me", tag = "Tag::Account")]
impl PersonalTokensApi {
    /// List the personal access tokens
    ///
    /// Returns the personal access tokens of the user, the newest first, without their secrets. Use the `id`
    /// of a token to remove it.
    #[oai(path = "/tokens", method = "get", operation_id = "list_personal_tokens")]
    async fn list(&self, caller: Caller<AccountScope>) -> Result<Json<PersonalTokenList>, ProblemResponse> {
        let tokens = self.tokens.list(caller.user()).await?;
        let items = tokens.into_iter().map(PersonalTokenBody::from).collect();
        Ok(Json(PersonalTokenList { items }))
    }

    /// Create a personal access token
    ///
    /// Creates a token for a script, or for a client that cannot log in. Send it as a Bearer token:
    /// `Authorization: Bearer tgp_…`. It is valid until it expires or is removed. Only this response contains
    /// `token`: it cannot be read later. A personal access token cannot be exchanged for a session, and
    /// cannot create another token.
    ///
    /// - 401 `step_up_required`: the user must authenticate again first, with
    ///   `POST /api/v1/me/reauthenticate`. Then repeat the request.
    /// - 403 `insufficient_scope`: `scope` contains a scope that the access token of this request does not
    ///   have. Log in again without limiting the scopes.
    /// - 507 `quota_exceeded`: the user has 50 tokens. Remove one.
    #[oai(path = "/tokens", method = "post", operation_id = "create_personal_token")]
    async fn create(
        &self,
        caller: Caller<AccountScope>,
        body: Body<CreatePersonalToken>,
    ) -> Result<CreatedToken, ProblemResponse> {
        let authorization = caller.require_recent_authentication(self.clock.now())?;
        let new = body.check(|body, _| body.check(self.clock.now()))?;
        let is_missing = |scope: &Scope| new.scopes.contains(*scope) && !caller.scopes().contains(*scope);
        if let Some(missing) = Scope::ALL.into_iter().find(is_missing) {
            return Err(caller::insufficient_scope(missing).into());
        }
        let (token, text) = self.tokens.create(authorization, new).await?;
        Ok(CreatedToken::Created(
            Json(PersonalTokenBody { token: Some(text), ..token.into() }),
            "no-store".to_owned(),
        ))
    }

    /// Remove a personal access token
    ///
    /// Removes a token, for example one that was lost. The replica that handles the request rejects the token
    /// immediately; all other replicas reject it within a second.
    ///
    /// - 404 `not_found`: the user has no token with this id. List the tokens again.
    #[oai(path = "/tokens/:id", method = "delete", operation_id = "delete_personal_token")]
    async fn remove(
        &self,
        caller: Caller<AccountScope>,
        /// Id of the token.
        id: Path<PathId>,
    ) -> Result<RemovedToken, ProblemResponse<404>> {
        self.tokens.remove(caller.user(), caller.session(), id.0.uuid()).await?;
        Ok(RemovedToken::NoContent)
    }
}

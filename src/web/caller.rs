//! Authenticates the caller of a request before its handler runs.
//!
//! A [`Caller`] is the user that an operation acts for. The credential is an access token or a personal
//! access token in `Authorization: Bearer`. The operator can also enable an access token in the query, HTTP
//! Digest with a personal access token, and HTTP Basic. HTTP Basic accepts an access token as the user name,
//! or an identifier with a password or a personal access token. Rejected requests get the challenges of RFC
//! 6750, 7616 and 7617.

use std::marker::PhantomData;
use std::sync::Arc;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

pub use super::credentials::{
    BasicCredentials, insufficient_scope, invalid_basic_credentials, invalid_client, invalid_code,
    invalid_credentials, invalid_refresh_token, invalid_second_factor, mfa_required,
    second_factor_required_for_basic, session_revoked, unconfirmed_account, user_deleted,
};
use super::credentials::{Challenges, Presented, extract, login_required};
use super::digest;
use super::problem::Problem;
use super::query::reject_unknown;
use crate::accounts::{Accounts, AccountsError, User};
use crate::audit;
use crate::clients::Clients;
use crate::config::AuthMethods;
use crate::db::StoreError;
use crate::metrics::{self, AuthMethod};
use crate::personal_tokens::digest::DigestError;
use crate::personal_tokens::{BY_PERSONAL_TOKEN, PersonalToken, PersonalTokens};
use crate::throttle::Throttle;
use crate::tokens::{AccessToken, BY_PASSWORD, Scope, Scopes, TokenError, Tokens};

/// The name of the Bearer scheme in the OpenAPI document.
pub const BEARER: &str = "bearerAuth";
/// The name of the Basic scheme in the OpenAPI document.
pub const BASIC: &str = "basicAuth";

/// The services that check credentials. The middleware attaches them to every request.
#[derive(Debug)]
pub struct Authentication {
    /// Checks passwords.
    pub accounts: Accounts,
    /// Verifies access tokens.
    pub tokens: Tokens,
    /// Verifies personal access tokens.
    pub personal_tokens: PersonalTokens,
    /// Checks the client credentials of services.
    pub clients: Clients,
    /// Refuses attempts after too many failures.
    pub throttle: Throttle,
    /// The enabled authentication methods besides `Authorization: Bearer`.
    pub methods: AuthMethods,
    /// Whether everything except `/auth` and `/me` requires a confirmed email address.
    pub require_confirmed: bool,
}

/// The scope that an operation requires of an access token.
pub trait RequiredScope: Send + Sync {
    /// The scope that the token must have, if any.
    const SCOPE: Option<Scope>;
    /// The security scheme and the scope, separated by a space. `http::openapi` splits the text at the space.
    const SCHEME: &'static str;
}

/// Accepts every valid token.
#[derive(Debug)]
pub struct AnyScope;
/// Requires the scope `account`.
#[derive(Debug)]
pub struct AccountScope;
/// Requires the scope `trips:read`.
#[derive(Debug)]
pub struct TripsRead;
/// Requires the scope `trips:write`.
#[derive(Debug)]
pub struct TripsWrite;

impl RequiredScope for AnyScope {
    const SCOPE: Option<Scope> = None;
    const SCHEME: &'static str = BEARER;
}

impl RequiredScope for AccountScope {
    const SCOPE: Option<Scope> = Some(Scope::Account);
    const SCHEME: &'static str = "bearerAuth account";
}

impl RequiredScope for TripsRead {
    const SCOPE: Option<Scope> = Some(Scope::TripsRead);
    const SCHEME: &'static str = "bearerAuth trips:read";
}

impl RequiredScope for TripsWrite {
    const SCOPE: Option<Scope> = Some(Scope::TripsWrite);
    const SCHEME: &'static str = "bearerAuth trips:write";
}

/// The credential that authenticated a caller.
#[derive(Debug)]
pub enum Credential {
    /// A verified access token.
    Token(Arc<AccessToken>),
    /// A verified personal access token.
    Personal(Arc<PersonalToken>),
    /// The password of a user, sent with the request itself.
    Password {
        /// The user.
        user: Uuid,
        /// The version of the user's credentials when the password was checked.
        credentials_version: i64,
    },
}

/// The authenticated user that a request acts for.
#[derive(Debug)]
pub struct Caller<R> {
    /// The credential that authenticated the user.
    pub credential: Credential,
    /// Checks the token again in the transaction of a sensitive change.
    pub(super) tokens: Tokens,
    requirement: PhantomData<R>,
}

impl<R> Caller<R> {
    /// Returns the id of the user. Every ownership check uses it.
    pub fn user(&self) -> Uuid {
        match &self.credential {
            Credential::Token(token) => token.user,
            Credential::Personal(token) => token.user,
            Credential::Password { user, .. } => *user,
        }
    }

    /// Returns the session of the access token, if the token has a session.
    pub fn session(&self) -> Option<Uuid> {
        match &self.credential {
            Credential::Token(token) => token.session,
            Credential::Personal(_) | Credential::Password { .. } => None,
        }
    }

    /// Returns the granted scopes. A password grants all scopes.
    pub fn scopes(&self) -> Scopes {
        match &self.credential {
            Credential::Token(token) => token.scopes,
            Credential::Personal(token) => token.scopes,
            Credential::Password { .. } => Scopes::all(),
        }
    }

    /// Returns whether the caller may read trips. If not, the response must contain no trip.
    pub fn can_read_trips(&self) -> bool {
        self.scopes().contains(Scope::TripsRead)
    }

    /// Returns the authentication methods (`amr`, RFC 8176) of the credential.
    pub fn amr(&self) -> Vec<String> {
        match &self.credential {
            Credential::Token(token) => token.amr.clone(),
            Credential::Personal(_) => vec![BY_PERSONAL_TOKEN.to_owned()],
            Credential::Password { .. } => vec![BY_PASSWORD.to_owned()],
        }
    }

    /// Rejects a personal access token, because only a logged-in user can authenticate again.
    ///
    /// # Errors
    ///
    /// `unauthenticated`.
    pub fn reject_personal_token(&self) -> Result<(), Problem> {
        match &self.credential {
            Credential::Personal(_) => Err(login_required()),
            Credential::Token(_) | Credential::Password { .. } => Ok(()),
        }
    }
}

impl<R: RequiredScope> Caller<R> {
    pub(super) async fn check(request: &Request) -> Result<Self, Problem> {
        let authentication = authentication(request)?;
        let methods = authentication.methods;
        let digest = methods.digest.then_some(&authentication.personal_tokens);
        let challenges = Challenges { basic: methods.basic, digest, is_stale: false };
        // Box every case except the usual one, an access token in the header, so that the future stays small.
        let credential = match extract(request, methods.query_token)? {
            Presented::Bearer(token) if PersonalTokens::is_well_formed(token) => {
                Box::pin(verify_personal(authentication, token, challenges)).await?
            }
            Presented::Bearer(token) => verify_token(authentication, token, challenges).await?,
            Presented::Query(token) => Box::pin(verify_token(authentication, &token, challenges)).await?,
            Presented::Basic(encoded) if methods.basic => {
                Box::pin(verify_basic(authentication, encoded, request, challenges)).await?
            }
            Presented::Digest(fields) if methods.digest => {
                Box::pin(verify_digest(authentication, fields, request, challenges)).await?
            }
            Presented::Nothing | Presented::Basic(_) | Presented::Digest(_) | Presented::Other => {
                return Err(challenges.unauthenticated());
            }
        };
        let tokens = authentication.tokens.clone();
        let caller = Self { credential, tokens, requirement: PhantomData };
        audit::set_caller(caller.user(), caller.session());
        match R::SCOPE {
            Some(scope) if !caller.scopes().contains(scope) => return Err(insufficient_scope(scope)),
            _ => reject_unknown(request)?,
        }
        if authentication.require_confirmed && needs_confirmation(request) {
            let is_confirmed = authentication.accounts.is_confirmed(caller.user());
            // Box this future, so that the future of a request that needs no confirmation stays small.
            if !Box::pin(is_confirmed).await? {
                return Err(unconfirmed_account());
            }
        }
        Ok(caller)
    }
}

/// Returns whether the server can require a confirmed email address for this path: false for `/auth`, `/me`
/// and the paths below them, and true for all other paths.
fn needs_confirmation(request: &Request) -> bool {
    let path = request.original_uri().path();
    let rest = path.strip_prefix(super::API).unwrap_or_default();
    !["/auth", "/me"]
        .into_iter()
        .any(|prefix| rest.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

async fn verify_token(
    authentication: &Authentication,
    token: &str,
    challenges: Challenges<'_>,
) -> Result<Credential, Problem> {
    let token = authentication.tokens.verify(token).await;
    token.map(Credential::Token).map_err(|error| challenges.invalid_token(error))
}

async fn verify_personal(
    authentication: &Authentication,
    token: &str,
    challenges: Challenges<'_>,
) -> Result<Credential, Problem> {
    let token = authentication.personal_tokens.verify(token).await;
    metrics::auth_attempted(AuthMethod::PersonalToken, &token);
    token.map(Credential::Personal).map_err(|error| challenges.invalid_personal_token(error))
}

async fn verify_digest(
    authentication: &Authentication,
    fields: &str,
    request: &Request,
    challenges: Challenges<'_>,
) -> Result<Credential, Problem> {
    let target = request.original_uri().path_and_query().map_or("", |target| target.as_str());
    // The middleware has changed HEAD to GET, so the client may have used either method in the digest.
    let method = request.method().as_str();
    let methods = if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] };
    let response = digest::parse(fields).ok_or_else(|| challenges.invalid_digest())?;
    let token = authentication.personal_tokens.verify_digest(&response, &methods, target).await;
    metrics::auth_attempted(AuthMethod::PersonalToken, &token);
    token.map(Credential::Personal).map_err(|error| match error {
        DigestError::Invalid => challenges.invalid_digest(),
        DigestError::Stale => Challenges { is_stale: true, ..challenges }.invalid_digest(),
        DigestError::Unverifiable => StoreError::unavailable().into(),
    })
}

/// Accepts a personal access token of the user with this identifier. No password is as long as such a token, so
/// the two can't be confused.
async fn verify_personal_basic(
    authentication: &Authentication,
    identifier: &str,
    token: &str,
    challenges: Challenges<'_>,
) -> Result<Credential, Problem> {
    let verified = authentication.personal_tokens.verify(token).await;
    metrics::auth_attempted(AuthMethod::PersonalToken, &verified);
    let token = match verified {
        Ok(token) => token,
        Err(TokenError::Unverifiable) => return Err(StoreError::unavailable().into()),
        Err(_) => return Err(challenges.invalid_credentials()),
    };
    if authentication.accounts.has_identifier(token.user, identifier).await? {
        Ok(Credential::Personal(token))
    } else {
        Err(challenges.invalid_credentials())
    }
}

/// Accepts an identifier with a password or a personal access token, or an access token with an empty
/// password. No account has an empty password, so an access token can't be confused with an identifier.
async fn verify_basic(
    authentication: &Authentication,
    encoded: &str,
    request: &Request,
    challenges: Challenges<'_>,
) -> Result<Credential, Problem> {
    let basic = BasicCredentials::decode(encoded).ok_or_else(|| challenges.invalid_credentials())?;
    if basic.password.is_empty() {
        return verify_token(authentication, &basic.identifier, challenges).await;
    }
    if PersonalTokens::is_well_formed(&basic.password) {
        return verify_personal_basic(authentication, &basic.identifier, &basic.password, challenges).await;
    }
    match authentication.accounts.authenticate(&basic.attempt(request)).await {
        Ok(User { id, credentials_version, .. }) => {
            Ok(Credential::Password { user: id, credentials_version })
        }
        Err(AccountsError::InvalidCredentials) => Err(challenges.invalid_credentials()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the [`Authentication`] that the middleware attached to the request.
pub(super) fn authentication(request: &Request) -> Result<&Authentication, Problem> {
    let attached = request.data::<Arc<Authentication>>();
    attached.map(Arc::as_ref).ok_or_else(|| Problem::internal("the middleware attached no authentication"))
}

/// Returns an HTTP security scheme for the OpenAPI document.
pub(super) fn scheme(
    kind: &'static str,
    format: Option<&'static str>,
    description: &'static str,
) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        description: Some(description),
        name: None,
        key_in: None,
        scheme: Some(kind),
        bearer_format: format,
        flows: None,
        openid_connect_url: None,
    }
}

impl<'a, R: RequiredScope> ApiExtractor<'a> for Caller<R> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let description = "The `access_token` of a `TokenGrant`, which signing up and logging in return, or a personal access token.";
        registry.create_security_scheme(BEARER, scheme("bearer", Some("JWT"), description));
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![R::SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self::check(request).await?)
    }
}

impl<'a> ApiExtractor<'a> for BasicCredentials {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let description = "An email address or username, and the password (RFC 7617, in UTF-8).";
        registry.create_security_scheme(BASIC, scheme("basic", None, description));
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BASIC]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let credentials = Self::check(request, authentication(request)?.methods.query_token)?;
        reject_unknown(request)?;
        Ok(credentials)
    }
}

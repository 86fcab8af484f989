//! Who is calling: the credential of a request, checked before its handler runs.
//!
//! A [`Caller`] is whoever an operation acts for. An access token says so, under `Authorization: Bearer`;
//! where the operator has switched it on, also in the query or as the user name of Basic, and there a
//! password says so too. Operations that ask for Basic, and for nothing else, never
//! take a token. What is not good enough is told by the challenges of RFC 6750 and RFC 7617.

use std::marker::PhantomData;
use std::sync::Arc;

use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

pub use super::credentials::{
    BasicCredentials, bad_basic, bad_client, bad_credentials, bad_refresh_token, session_revoked,
    user_deleted,
};
use super::credentials::{Challenges, Presented, extract, insufficient_scope};
use super::problem::Problem;
use crate::accounts::AccountsError;
use crate::app::App;
use crate::audit::{self, Event};
use crate::tokens::{AccessToken, BY_PASSWORD, Scope, Scopes};

/// The name of the Bearer scheme in the document.
pub const BEARER: &str = "bearerAuth";
/// The name of the Basic scheme in the document.
pub const BASIC: &str = "basicAuth";

/// What an operation asks of an access token.
pub trait RequiredScope: Send + Sync {
    /// The scope that the token must have, if any.
    const SCOPE: Option<Scope>;
    /// How the document names scheme and scope; `spec` takes the two apart.
    const SCHEME: &'static str;
}

/// Any good token.
#[derive(Debug)]
pub struct AnyScope;
/// A token for the account.
#[derive(Debug)]
pub struct AccountScope;
/// A token for reading trips.
#[derive(Debug)]
pub struct TripsRead;
/// A token for writing trips.
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

/// How a caller showed who they are.
#[derive(Debug)]
pub enum Credential {
    /// By an access token.
    Token(Arc<AccessToken>),
    /// By the password of this user, with this very request.
    Password(Uuid),
}

/// Whoever the request acts for.
#[derive(Debug)]
pub struct Caller<R> {
    /// How they showed who they are.
    pub credential: Credential,
    requirement: PhantomData<R>,
}

impl<R> Caller<R> {
    /// Who it is: the one thing that ownership rests on.
    pub fn user(&self) -> Uuid {
        match &self.credential {
            Credential::Token(token) => token.user,
            Credential::Password(user) => *user,
        }
    }

    /// The session that the access token belongs to; a password has none.
    pub fn session(&self) -> Option<Uuid> {
        match &self.credential {
            Credential::Token(token) => token.session,
            Credential::Password(_) => None,
        }
    }

    /// What they may do.
    pub fn scopes(&self) -> Scopes {
        match &self.credential {
            Credential::Token(token) => token.scopes,
            Credential::Password(_) => Scopes::all(),
        }
    }

    /// How they proved who they are, now or when the token was bought (RFC 8176).
    pub fn amr(&self) -> Vec<String> {
        match &self.credential {
            Credential::Token(token) => token.amr.clone(),
            Credential::Password(_) => vec![BY_PASSWORD.to_owned()],
        }
    }
}

impl<R: RequiredScope> Caller<R> {
    async fn check(request: &Request) -> Result<Self, Problem> {
        let app = app(request)?;
        let challenges = Challenges { basic: app.ways_in.basic };
        let credential = match extract(request, app.ways_in.query_token)? {
            Presented::Bearer(token) => of_token(app, &token, challenges).await?,
            // Boxed, because whoever sends a token should not carry what a password takes.
            Presented::Basic(encoded) if app.ways_in.basic => {
                Box::pin(of_basic(app, encoded, challenges)).await?
            }
            Presented::Nothing | Presented::Basic(_) | Presented::Other => {
                return Err(challenges.unauthenticated());
            }
        };
        let caller = Self { credential, requirement: PhantomData };
        match R::SCOPE {
            Some(scope) if !caller.scopes().contains(scope) => Err(insufficient_scope(scope)),
            _ => Ok(caller),
        }
    }
}

async fn of_token(app: &App, token: &str, challenges: Challenges) -> Result<Credential, Problem> {
    let token = app.tokens.verify(token).await;
    token.map(Credential::Token).map_err(|error| challenges.bad_token(error))
}

/// An identifier and a password, or an access token and an empty password, which nobody has.
async fn of_basic(app: &App, encoded: &str, challenges: Challenges) -> Result<Credential, Problem> {
    let BasicCredentials { identifier, password } =
        BasicCredentials::decode(encoded).ok_or_else(|| challenges.bad_password())?;
    if password.is_empty() {
        return of_token(app, &identifier, challenges).await;
    }
    match app.accounts.authenticate(&identifier, &password).await {
        Ok(user) => {
            audit::note(Event::Authenticated, Some(user.id), None);
            Ok(Credential::Password(user.id))
        }
        Err(AccountsError::BadCredentials) => Err(challenges.bad_password()),
        Err(error) => Err(error.into()),
    }
}

/// The rooms, wherever a request is looked at.
pub(super) fn app(request: &Request) -> Result<&App, Problem> {
    request.data::<App>().ok_or_else(|| Problem::internal("the app is not wired to the router"))
}

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
        let description = "The access token of a `TokenGrant`, from signing up or logging in.";
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
        let description = "Email address or username, and password (RFC 7617, UTF-8).";
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
        Ok(Self::check(request, app(request)?.ways_in.query_token)?)
    }
}

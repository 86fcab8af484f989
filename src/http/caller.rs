//! Who is calling: the credential of a request, checked before its handler runs.
//!
//! One extractor for each way in. `Authorization` alone counts, exactly once; what is not good
//! enough is told by the challenges of RFC 6750 and RFC 7617.

use std::marker::PhantomData;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::header;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use uuid::Uuid;

use super::problem::{Code, Problem};
use crate::app::App;
use crate::db::StoreError;
use crate::tokens::{AccessToken, Scope, TokenError};

/// The name of the Bearer scheme in the document.
pub const BEARER: &str = "bearerAuth";
/// The name of the Basic scheme in the document.
pub const BASIC: &str = "basicAuth";

const BEARER_CHALLENGE: &str = r#"Bearer realm="tripgate""#;
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

/// What an operation asks of an access token.
pub trait Requirement: Send + Sync {
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
pub struct ForAccount;
/// A token for reading trips.
#[derive(Debug)]
pub struct ForReading;
/// A token for writing trips.
#[derive(Debug)]
pub struct ForWriting;

impl Requirement for AnyScope {
    const SCOPE: Option<Scope> = None;
    const SCHEME: &'static str = BEARER;
}

impl Requirement for ForAccount {
    const SCOPE: Option<Scope> = Some(Scope::Account);
    const SCHEME: &'static str = "bearerAuth account";
}

impl Requirement for ForReading {
    const SCOPE: Option<Scope> = Some(Scope::TripsRead);
    const SCHEME: &'static str = "bearerAuth trips:read";
}

impl Requirement for ForWriting {
    const SCOPE: Option<Scope> = Some(Scope::TripsWrite);
    const SCHEME: &'static str = "bearerAuth trips:write";
}

/// The owner of a good access token.
#[derive(Debug)]
pub struct Caller<R> {
    /// What the token says.
    pub token: Arc<AccessToken>,
    requirement: PhantomData<R>,
}

impl<R> Caller<R> {
    /// Whose token it is: the one thing that ownership rests on.
    pub fn user(&self) -> Uuid {
        self.token.user
    }
}

/// What stands in a Basic credential; not checked against anything yet.
#[derive(Debug)]
pub struct BasicCredentials {
    /// Before the first colon.
    pub identifier: String,
    /// Behind it.
    pub password: String,
}

/// The credential of a request: its scheme, in any case, and the rest.
fn credential(request: &Request) -> Result<Option<(&str, &str)>, Problem> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(Problem::new(Code::ConflictingCredentials, "Send exactly one Authorization header."));
    }
    // What is not ASCII is no scheme of ours.
    let text = header.to_str().unwrap_or_default();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(Some((scheme, rest.trim_matches(' '))))
}

fn no_bearer() -> Problem {
    // No error code where the request carried no credential of this kind (RFC 6750 §3.1).
    Problem::new(Code::Unauthenticated, "Send an access token: Authorization: Bearer <token>.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

fn bad_bearer(error: TokenError) -> Problem {
    let what = match error {
        TokenError::Expired => "The access token has expired",
        TokenError::Revoked => "The access token was revoked",
        TokenError::Invalid => "The access token is invalid",
        TokenError::Unknown => return StoreError::away().into(),
    };
    let challenge = format!(r#"{BEARER_CHALLENGE}, error="invalid_token", error_description="{what}""#);
    Problem::new(Code::InvalidToken, format!("{what}.")).with_header(header::WWW_AUTHENTICATE, challenge)
}

fn lacks(scope: Scope) -> Problem {
    let name = scope.name();
    let challenge = format!(r#"{BEARER_CHALLENGE}, error="insufficient_scope", scope="{name}""#);
    Problem::new(Code::InsufficientScope, format!("The access token lacks the scope {name}."))
        .with_header(header::WWW_AUTHENTICATE, challenge)
}

/// The token's owner has no account any more.
pub fn owner_gone() -> Problem {
    bad_bearer(TokenError::Invalid)
}

/// Wrong credentials, told as the Basic scheme wants it.
pub fn bad_basic() -> Problem {
    Problem::new(Code::InvalidCredentials, "There is no account with this identifier and password.")
        .with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE)
}

/// Wrong credentials in a body. RFC 9110 §15.5.2 wants a challenge with every 401; Basic would make
/// browsers ask in a window of their own.
pub fn bad_credentials() -> Problem {
    Problem::new(Code::InvalidCredentials, "There is no account with this identifier and password.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// A refresh token that was never ours, or whose session has run out. The challenge as for wrong
/// credentials.
pub fn bad_refresh_token() -> Problem {
    Problem::new(Code::InvalidRefreshToken, "The refresh token is not good; log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// A refresh token whose session was ended.
pub fn session_revoked() -> Problem {
    Problem::new(Code::SessionRevoked, "The session was ended; log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

impl<R: Requirement> Caller<R> {
    async fn check(request: &Request) -> Result<Self, Problem> {
        let token = match credential(request)? {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
            _ => return Err(no_bearer()),
        };
        let app =
            request.data::<App>().ok_or_else(|| Problem::internal("the app is not wired to the router"))?;
        let token = app.tokens.verify(token).await.map_err(bad_bearer)?;
        match R::SCOPE {
            Some(scope) if !token.scopes.contains(scope) => Err(lacks(scope)),
            _ => Ok(Self { token, requirement: PhantomData }),
        }
    }
}

impl BasicCredentials {
    fn check(request: &Request) -> Result<Self, Problem> {
        let encoded = match credential(request)? {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => rest,
            _ => {
                return Err(Problem::new(
                    Code::Unauthenticated,
                    "Send the identifier and password as Basic credentials.",
                )
                .with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE));
            }
        };
        // RFC 7617 §2: everything up to the first colon is the user id.
        let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let split = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (identifier, password) = split.ok_or_else(bad_basic)?;
        // Neither may contain one (RFC 7617 §2), and no user has either.
        if identifier.chars().chain(password.chars()).any(char::is_control) {
            return Err(bad_basic());
        }
        Ok(Self { identifier: identifier.to_owned(), password: password.to_owned() })
    }
}

fn scheme(kind: &'static str, format: Option<&'static str>, description: &'static str) -> MetaSecurityScheme {
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

impl<'a, R: Requirement> ApiExtractor<'a> for Caller<R> {
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
        Ok(Self::check(request)?)
    }
}

//! Reads the credential of a request, and builds the 401 and 403 problems with their challenges.
//!
//! A request with more than one credential is rejected. [`super::caller`] checks whether a credential is
//! valid.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use poem::Request;
use poem::http::header;

use super::client_address::ClientAddress;
use super::digest;
use super::problem::{FieldError, Problem, ProblemCode};
use crate::accounts::LoginAttempt;
use crate::db::StoreError;
use crate::personal_tokens::PersonalTokens;
use crate::tokens::{Scope, TokenError};

const BEARER_CHALLENGE: &str = r#"Bearer realm="tripgate""#;
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

/// The credential of a request, before any check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// No credential.
    Nothing,
    /// The value of a Bearer credential, expected to be an access token or a personal access token.
    Bearer(&'a str),
    /// The token in the query, expected to be an access token.
    Query(Cow<'a, str>),
    /// The fields of a Digest credential.
    Digest(&'a str),
    /// The value of an HTTP Basic credential, expected to be base64.
    Basic(&'a str),
    /// A scheme that the server does not support.
    Other,
}

/// Extracts the credential of a request. `query_token` enables `?token=`.
///
/// # Errors
///
/// `conflicting_credentials` if the request has more than one credential.
pub(super) fn extract(request: &Request, query_token: bool) -> Result<Presented<'_>, Problem> {
    let query = request.uri().query().filter(|_| query_token).unwrap_or_default();
    // The middleware has rejected queries with duplicate names.
    let in_query = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let header = match (headers.next(), in_query) {
        (None, None) => return Ok(Presented::Nothing),
        (None, Some((_, token))) => return Ok(Presented::Query(token)),
        (Some(header), None) if headers.next().is_none() => header,
        _ => {
            return Err(Problem::new(
                ProblemCode::ConflictingCredentials,
                "Send exactly one credential: one Authorization header, and no token in the query.",
            ));
        }
    };
    let Ok(text) = header.to_str() else {
        // The header contains bytes that no valid token contains (RFC 6750 §2.1). The scheme decides which
        // error is returned.
        let scheme = header.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_token = scheme.eq_ignore_ascii_case(b"bearer");
        return Ok(if is_token { Presented::Bearer("") } else { Presented::Other });
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    Ok(match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Presented::Bearer(rest),
        "basic" => Presented::Basic(rest),
        "digest" => Presented::Digest(rest),
        _ => Presented::Other,
    })
}

/// The challenges in the responses to callers that are not authenticated: always Bearer, and HTTP Digest and
/// HTTP Basic if they are enabled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenges<'a> {
    pub(super) basic: bool,
    /// The issuer of nonces, if Digest is enabled.
    pub(super) digest: Option<&'a PersonalTokens>,
    /// Whether a Digest response was correct except for its nonce.
    pub(super) is_stale: bool,
}

impl Challenges<'_> {
    fn with(self, problem: Problem, bearer: &str) -> Problem {
        let mut problem = problem.with_header(header::WWW_AUTHENTICATE, bearer);
        if let Some(nonces) = self.digest {
            let challenge = digest::challenge(&nonces.issue_nonce(), self.is_stale);
            problem = problem.with_header(header::WWW_AUTHENTICATE, challenge);
        }
        if self.basic { problem.with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE) } else { problem }
    }

    /// Returns the problem for a missing credential. Its challenge has no error code (RFC 6750 §3.1).
    pub(super) fn unauthenticated(self) -> Problem {
        self.with(Problem::new(ProblemCode::Unauthenticated, "Log in to continue."), BEARER_CHALLENGE)
    }

    /// Returns the problem for an access token that is not accepted.
    pub(super) fn invalid_token(self, error: TokenError) -> Problem {
        let (description, detail) = match error {
            TokenError::Expired => {
                ("The access token has expired", "Your login has expired. Please log in again.")
            }
            TokenError::Revoked => {
                ("The access token was revoked", "Your login has ended. Please log in again.")
            }
            TokenError::Invalid => {
                ("The access token is invalid", "Your login is not valid. Please log in again.")
            }
            TokenError::Unverifiable => return StoreError::unavailable().into(),
        };
        let challenge =
            format!(r#"{BEARER_CHALLENGE}, error="invalid_token", error_description="{description}""#);
        self.with(Problem::new(ProblemCode::InvalidToken, detail), &challenge)
    }

    /// Returns the problem for a personal access token that is not accepted.
    pub(super) fn invalid_personal_token(self, error: TokenError) -> Problem {
        let (description, detail) = match error {
            TokenError::Expired => {
                ("The token has expired", "This personal access token has expired. Please create a new one.")
            }
            TokenError::Revoked | TokenError::Invalid => {
                ("The token is invalid", "This personal access token is not valid, or it was removed.")
            }
            TokenError::Unverifiable => return StoreError::unavailable().into(),
        };
        let challenge =
            format!(r#"{BEARER_CHALLENGE}, error="invalid_token", error_description="{description}""#);
        self.with(Problem::new(ProblemCode::InvalidToken, detail), &challenge)
    }

    /// Returns the problem for a Digest response that is not accepted.
    pub(super) fn invalid_digest(self) -> Problem {
        let detail = if self.is_stale {
            "The Digest response is too old or was used before. Send the request again with the new nonce."
        } else {
            "The Digest credentials are wrong: send the id of a personal access token and the token."
        };
        self.with(Problem::new(ProblemCode::InvalidCredentials, detail), BEARER_CHALLENGE)
    }

    /// Returns the problem for a wrong password or an unknown identifier.
    pub(super) fn invalid_credentials(self) -> Problem {
        self.with(wrong_credentials(), BEARER_CHALLENGE)
    }
}

/// Returns the problem for a valid token that lacks a scope.
pub fn insufficient_scope(scope: Scope) -> Problem {
    let name = scope.name();
    let challenge = format!(r#"{BEARER_CHALLENGE}, error="insufficient_scope", scope="{name}""#);
    Problem::new(
        ProblemCode::InsufficientScope,
        format!("Your login does not include the permission {name}. Log in again to add it."),
    )
    .with_header(header::WWW_AUTHENTICATE, challenge)
}

/// Returns the problem for a personal access token in a request that only a logged-in user may send.
pub(super) fn login_required() -> Problem {
    let detail = "A personal access token is not accepted here. Log in to continue.";
    Problem::new(ProblemCode::Unauthenticated, detail).with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// Returns the problem for a caller whose authentication is not recent enough (RFC 9470 §3).
pub(super) fn step_up_required(max_age: TimeDelta) -> Problem {
    let challenge = format!(
        r#"{BEARER_CHALLENGE}, error="insufficient_user_authentication", error_description="A recent authentication is required", max_age="{}""#,
        max_age.num_seconds()
    );
    Problem::new(ProblemCode::StepUpRequired, "Please confirm your identity to continue.")
        .with_header(header::WWW_AUTHENTICATE, challenge)
}

/// Returns the problem for a mailed code or token that is not accepted. The problem is the same for every
/// reason.
pub fn invalid_code(pointer: &str) -> Problem {
    let detail = "This code is not valid or has expired. Please check it, or ask for a new one.";
    Problem::new(ProblemCode::InvalidCode, detail).with_errors(vec![FieldError::new(
        pointer,
        "invalid_code",
        detail,
    )])
}

/// Returns the problem for a user whose email address must be confirmed first.
pub fn unconfirmed_account() -> Problem {
    let detail = "Please confirm your email address first. We have sent you an email with a code.";
    Problem::new(ProblemCode::UnconfirmedAccount, detail)
}

fn wrong_credentials() -> Problem {
    Problem::new(ProblemCode::InvalidCredentials, "The email address, username or password is wrong.")
}

/// Returns the problem for a token whose user was deleted.
pub fn user_deleted() -> Problem {
    Challenges { basic: false, digest: None, is_stale: false }.invalid_token(TokenError::Invalid)
}

/// Returns the problem for wrong HTTP Basic credentials, with a Basic challenge.
pub fn invalid_basic_credentials() -> Problem {
    challenge_basic(wrong_credentials())
}

/// Returns the problem for HTTP Basic credentials that are correct but not sufficient: the account requires a
/// second factor, which Basic can't send.
pub fn second_factor_required_for_basic() -> Problem {
    challenge_basic(Problem::new(
        ProblemCode::MfaRequired,
        "This account has two-step verification. Log in in the app, or use a personal access token.",
    ))
}

/// Returns the problem for a login that continues with a second factor.
pub fn mfa_required(mfa_token: String, methods: Vec<String>) -> Problem {
    Problem::new(ProblemCode::MfaRequired, "Enter a code from your authenticator app to log in.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
        .with_mfa(mfa_token, methods)
}

/// Returns the problem for a second factor that is wrong, or a login that has expired. `detail` is the sentence
/// for the user.
pub fn invalid_second_factor(detail: &'static str) -> Problem {
    Problem::new(ProblemCode::InvalidCredentials, detail)
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// Returns the problem for wrong credentials in a body. RFC 9110 §15.5.2 requires a challenge in every 401.
/// The challenge is Bearer, because a Basic challenge would make browsers open their password dialog.
pub fn invalid_credentials() -> Problem {
    wrong_credentials().with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// Returns the problem for a refresh token that this server never issued, or whose session has expired.
pub fn invalid_refresh_token() -> Problem {
    Problem::new(ProblemCode::InvalidRefreshToken, "Your login has expired. Please log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// Returns the problem for a refresh token whose session was ended.
pub fn session_revoked() -> Problem {
    Problem::new(ProblemCode::SessionRevoked, "You were logged out. Please log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// Returns the problem for missing or wrong client credentials.
pub fn invalid_client() -> Problem {
    challenge_basic(Problem::new(
        ProblemCode::InvalidClient,
        "Send the client ID and client secret of a registered service as Basic credentials.",
    ))
}

/// Adds a `WWW-Authenticate` header that offers only HTTP Basic.
fn challenge_basic(problem: Problem) -> Problem {
    problem.with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE)
}

/// The identifier and password of an HTTP Basic credential, before any check.
#[derive(Debug)]
pub struct BasicCredentials {
    /// The text before the first colon, without leading and trailing white space.
    pub identifier: String,
    /// The text after the first colon.
    pub password: String,
}

impl BasicCredentials {
    pub(super) fn check(request: &Request, query_token: bool) -> Result<Self, Problem> {
        match extract(request, query_token)? {
            Presented::Basic(encoded) => Self::decode(encoded).ok_or_else(invalid_basic_credentials),
            _ => Err(challenge_basic(Problem::new(
                ProblemCode::Unauthenticated,
                "Send the email address or username, and the password, as Basic credentials.",
            ))),
        }
    }

    /// Returns the login attempt with these credentials. HTTP Basic credentials contain no device token.
    pub fn attempt(&self, request: &Request) -> LoginAttempt<'_> {
        let Self { identifier, password } = self;
        LoginAttempt { identifier, password, address: ClientAddress::of(request).0, device_token: None }
    }

    /// Decodes the text after the scheme. Returns `None` if the text is malformed.
    pub(super) fn decode(encoded: &str) -> Option<Self> {
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        // RFC 7617 §2: everything up to the first colon is the user id.
        let (identifier, password) = decoded.split_once(':')?;
        let identifier = identifier.trim();
        // Neither part may contain control characters (RFC 7617 §2).
        let has_control = identifier.chars().chain(password.chars()).any(char::is_control);
        (!has_control).then(|| Self { identifier: identifier.to_owned(), password: password.to_owned() })
    }
}

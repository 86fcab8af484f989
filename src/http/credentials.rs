//! How credentials are written into a request, and what is said to those that are not good.
//!
//! Exactly one credential counts: two in one request are refused, whatever they are. Whether one is
//! good is for [`super::caller`] to find out.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::Request;
use poem::http::header;

use super::problem::{Problem, ProblemCode};
use crate::db::StoreError;
use crate::tokens::{Scope, TokenError};

const BEARER_CHALLENGE: &str = r#"Bearer realm="tripgate""#;
const BASIC_CHALLENGE: &str = r#"Basic realm="tripgate", charset="UTF-8""#;

/// The one credential of a request, not checked against anything yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// None at all.
    Nothing,
    /// What should be an access token.
    Bearer(Cow<'a, str>),
    /// What should be base64.
    Basic(&'a str),
    /// Of a scheme that is not ours.
    Other,
}

/// The credential of a request; `query_token` says whether `?token=` is one.
pub(super) fn extract(request: &Request, query_token: bool) -> Result<Presented<'_>, Problem> {
    let query = request.uri().query().filter(|_| query_token).unwrap_or_default();
    // The edge has seen to it that no name stands there twice.
    let in_query = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let header = match (headers.next(), in_query) {
        (None, None) => return Ok(Presented::Nothing),
        (None, Some((_, token))) => return Ok(Presented::Bearer(token)),
        (Some(header), None) if headers.next().is_none() => header,
        _ => {
            return Err(Problem::new(
                ProblemCode::ConflictingCredentials,
                "Send exactly one credential: one Authorization header, and no token beside it.",
            ));
        }
    };
    let Ok(text) = header.to_str() else {
        // No token of anybody's has such characters (RFC 6750 §2.1), but it was shown as one.
        let scheme = header.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_token = scheme.eq_ignore_ascii_case(b"bearer");
        return Ok(if is_token { Presented::Bearer(Cow::Borrowed("")) } else { Presented::Other });
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Presented::Bearer(Cow::Borrowed(rest)));
    }
    Ok(if scheme.eq_ignore_ascii_case("basic") { Presented::Basic(rest) } else { Presented::Other })
}

/// What a caller is told who has not shown enough: Bearer always, and Basic where it is taken too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Challenges {
    pub(super) basic: bool,
}

impl Challenges {
    fn with(self, problem: Problem, bearer: &str) -> Problem {
        let problem = problem.with_header(header::WWW_AUTHENTICATE, bearer);
        if self.basic { problem.with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE) } else { problem }
    }

    /// No credential of a kind that is taken: then no error code either (RFC 6750 §3.1).
    pub(super) fn unauthenticated(self) -> Problem {
        let detail = if self.basic {
            "Send an access token, Authorization: Bearer <token>, or Basic credentials."
        } else {
            "Send an access token: Authorization: Bearer <token>."
        };
        self.with(Problem::new(ProblemCode::Unauthenticated, detail), BEARER_CHALLENGE)
    }

    pub(super) fn bad_token(self, error: TokenError) -> Problem {
        let what = match error {
            TokenError::Expired => "The access token has expired",
            TokenError::Revoked => "The access token was revoked",
            TokenError::Invalid => "The access token is invalid",
            TokenError::Unverifiable => return StoreError::unavailable().into(),
        };
        let challenge = format!(r#"{BEARER_CHALLENGE}, error="invalid_token", error_description="{what}""#);
        self.with(Problem::new(ProblemCode::InvalidToken, format!("{what}.")), &challenge)
    }

    pub(super) fn bad_password(self) -> Problem {
        self.with(wrong_credentials(), BEARER_CHALLENGE)
    }
}

/// The token is good, but not for this.
pub(super) fn insufficient_scope(scope: Scope) -> Problem {
    let name = scope.name();
    let challenge = format!(r#"{BEARER_CHALLENGE}, error="insufficient_scope", scope="{name}""#);
    Problem::new(ProblemCode::InsufficientScope, format!("The access token lacks the scope {name}."))
        .with_header(header::WWW_AUTHENTICATE, challenge)
}

fn wrong_credentials() -> Problem {
    Problem::new(ProblemCode::InvalidCredentials, "There is no account with this identifier and password.")
}

/// The token's owner has no account any more.
pub fn user_deleted() -> Problem {
    Challenges { basic: false }.bad_token(TokenError::Invalid)
}

/// Wrong credentials, told as the Basic scheme wants it.
pub fn bad_basic() -> Problem {
    challenge_basic(wrong_credentials())
}

/// Wrong credentials in a body. RFC 9110 §15.5.2 wants a challenge with every 401; Basic would make
/// browsers ask in a window of their own.
pub fn bad_credentials() -> Problem {
    wrong_credentials().with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// A refresh token that was never ours, or whose session has run out. The challenge as for wrong
/// credentials.
pub fn bad_refresh_token() -> Problem {
    Problem::new(ProblemCode::InvalidRefreshToken, "The refresh token is not good; log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// A refresh token whose session was ended.
pub fn session_revoked() -> Problem {
    Problem::new(ProblemCode::SessionRevoked, "The session was ended; log in again.")
        .with_header(header::WWW_AUTHENTICATE, BEARER_CHALLENGE)
}

/// No or wrong credentials of another service.
pub fn bad_client() -> Problem {
    challenge_basic(Problem::new(
        ProblemCode::InvalidClient,
        "Send the id and secret of a client of this server as Basic credentials.",
    ))
}

/// The problem with the challenge of Basic alone.
fn challenge_basic(problem: Problem) -> Problem {
    problem.with_header(header::WWW_AUTHENTICATE, BASIC_CHALLENGE)
}

/// What stands in a Basic credential; not checked against anything yet.
#[derive(Debug)]
pub struct BasicCredentials {
    /// Before the first colon.
    pub identifier: String,
    /// Behind it.
    pub password: String,
}

impl BasicCredentials {
    pub(super) fn check(request: &Request, query_token: bool) -> Result<Self, Problem> {
        match extract(request, query_token)? {
            Presented::Basic(encoded) => Self::decode(encoded).ok_or_else(bad_basic),
            _ => Err(challenge_basic(Problem::new(
                ProblemCode::Unauthenticated,
                "Send the identifier and password as Basic credentials.",
            ))),
        }
    }

    /// Of what stands behind the scheme; `None` if it is malformed.
    pub(super) fn decode(encoded: &str) -> Option<Self> {
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        // RFC 7617 §2: everything up to the first colon is the user id.
        let (identifier, password) = decoded.split_once(':')?;
        // Neither may contain one (RFC 7617 §2), and no user has either.
        let is_sane = !decoded.chars().any(char::is_control);
        is_sane.then(|| Self { identifier: identifier.to_owned(), password: password.to_owned() })
    }
}

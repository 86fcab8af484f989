//! Converts the errors of sessions and tokens to problems.

use poem::http::header;

use crate::sessions::SessionsError;
use crate::tokens::TokensError;
use crate::web::caller;
use crate::web::problem::{FieldError, Problem, ProblemCode};

impl From<SessionsError> for Problem {
    fn from(error: SessionsError) -> Self {
        match error {
            SessionsError::SignupClosed => {
                Self::new(ProblemCode::SignupClosed, "This server does not accept new accounts.")
            }
            SessionsError::InviteRequired => {
                Self::new(ProblemCode::InviteRequired, "Signing up requires a valid invitation code.")
            }
            SessionsError::EmailRequired => {
                let detail = "Email address is required.";
                Self::invalid(vec![FieldError::new("/email", "required", detail)])
            }
            SessionsError::InvalidCode => caller::invalid_code("/code"),
            SessionsError::InvalidRefreshToken => caller::invalid_refresh_token(),
            SessionsError::Revoked => caller::session_revoked(),
            SessionsError::NoSuchSession => Self::not_found(),
            SessionsError::SecondFactorRequired(challenge) => {
                let names = challenge.methods.iter().map(|method| method.name().to_owned());
                caller::mfa_required(challenge.token, names.collect())
            }
            SessionsError::LoginExpired => {
                caller::invalid_second_factor("This login has expired. Please log in again.")
            }
            SessionsError::WrongSecondFactor => caller::invalid_second_factor(
                "The code is wrong, or was used before. Please enter a new one.",
            ),
            SessionsError::InvalidPasskey(rejection) => {
                caller::invalid_second_factor(rejection.sentence()).caused_by(rejection)
            }
            SessionsError::TooManyAttempts { retry_after_secs } => Self::new(
                ProblemCode::TooManyAttempts,
                "There were too many wrong codes. Please wait a moment and try again.",
            )
            .retry_after(retry_after_secs),
            SessionsError::SecondFactors(error) => error.into(),
            SessionsError::Passkeys(error) => error.into(),
            SessionsError::Accounts(error) => error.into(),
            SessionsError::Tokens(error) => error.into(),
            SessionsError::Store(error) => error.into(),
        }
    }
}

impl From<TokensError> for Problem {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NoSigningKey => Self::new(
                ProblemCode::NoSigningKey,
                "Logging in is not possible at the moment. Please try again later.",
            )
            .with_header(header::RETRY_AFTER, "60")
            .caused_by(error),
            TokensError::ConcurrentRotation | TokensError::Signing(_) => Self::internal(error),
            TokensError::Store(error) => error.into(),
        }
    }
}

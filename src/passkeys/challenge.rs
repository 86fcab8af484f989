//! The data types of challenges and ceremonies. A ceremony, in the terms of Web Authentication, is one
//! registration of a passkey or one authentication by a passkey.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The ceremony for which a challenge was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// A user who is logged in adds a passkey.
    Register,
    /// A login in which the passkey identifies the user.
    LogIn,
    /// The second factor of a login whose first factor was correct.
    SecondFactor {
        /// The digest of the token that identifies the login.
        login: [u8; 32],
    },
    /// A user who is logged in authenticates again.
    StepUp,
}

impl Ceremony {
    /// Returns the name of the ceremony in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::LogIn => "log_in",
            Self::SecondFactor { .. } => "second_factor",
            Self::StepUp => "step_up",
        }
    }

    /// Returns the digest of the token of a login that waits for the second factor.
    pub(super) const fn login(&self) -> Option<&[u8; 32]> {
        match self {
            Self::SecondFactor { login } => Some(login),
            Self::Register | Self::LogIn | Self::StepUp => None,
        }
    }
}

/// A challenge that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The id that a request sends to use the challenge.
    pub id: Uuid,
    /// The random value.
    pub value: Vec<u8>,
    /// When the challenge expires.
    pub expires_at: DateTime<Utc>,
}

/// The id of a challenge in a request, with the ceremony and the user for which the challenge must have been
/// issued.
#[derive(Debug, Clone, Copy)]
pub(super) struct PresentedChallenge {
    pub(super) id: Uuid,
    pub(super) ceremony: Ceremony,
    /// The user, or `None` in a login, where the passkey identifies the user.
    pub(super) user: Option<Uuid>,
}

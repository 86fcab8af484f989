//! The types of challenges.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What a challenge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceremony {
    /// A user who is logged in adds a passkey.
    Register,
    /// A login, whose user is not known before.
    LogIn,
    /// The second factor of a login that waits for it.
    SecondFactor {
        /// The digest of the token of the login.
        login: [u8; 32],
    },
    /// A user who is logged in authenticates again.
    StepUp,
}

impl Ceremony {
    /// Returns the stored name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::LogIn => "log_in",
            Self::SecondFactor { .. } => "second_factor",
            Self::StepUp => "step_up",
        }
    }

    /// Returns the digest of the waiting login.
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
    /// Names the challenge in the request that uses it.
    pub id: Uuid,
    /// The random value.
    pub value: Vec<u8>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// The id of a challenge in a response. With the random value in the response, it names one ceremony of one user.
#[derive(Debug, Clone, Copy)]
pub(super) struct PresentedChallenge {
    pub(super) id: Uuid,
    pub(super) ceremony: Ceremony,
    /// The user, where the user is known.
    pub(super) user: Option<Uuid>,
}

//! The values of the labels of metrics.

/// Why an access token was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRejection {
    /// The token is malformed, or has a wrong signature or a wrong claim.
    Invalid,
    /// The token has expired.
    Expired,
    /// The token was revoked.
    Revoked,
    /// The server can't read the revocations from the database.
    Unverifiable,
}

/// The result of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The client received a new refresh token, or, for a repeated request, the same new token again.
    Rotated,
    /// An old refresh token was used again, so the session was ended.
    Reused,
    /// The session was ended for one of two reasons. The row of the session has a lower generation than the
    /// token, because the database was restored from a backup. Or the session was started without the second
    /// factor that the account requires.
    Lost,
    /// The session had been ended before.
    Revoked,
    /// The refresh token is unknown or has expired.
    Unknown,
}

/// The result of looking up a page of trips in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLookup {
    /// The cached page was returned.
    Hit,
    /// The trips have changed since the page was read.
    Outdated,
    /// The page is not in the cache.
    Miss,
}

/// A condition for the readiness of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadinessCheck {
    /// The database responds.
    Database,
    /// The signing key can be decrypted.
    SigningKey,
    /// The clock agrees with the database's clock.
    Clock,
    /// No server that started earlier on the same database has another public URL.
    PublicUrl,
    /// The schema of the database is not newer than this version supports.
    Schema,
}

/// A difference between this server and another server on the same database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReplicaMismatch {
    /// The other server has another master secret.
    Secret,
    /// The other server has another public URL.
    PublicUrl,
    /// The version of the other server requires another schema of the database.
    Schema,
    /// The other server has another version.
    Version,
    /// The clocks of the servers differ.
    Clock,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// An identifier and a password in a body.
    Password,
    /// An identifier and a password by HTTP Basic authentication.
    Basic,
    /// A refresh token.
    Refresh,
    /// A code of an authenticator app.
    Totp,
    /// A recovery code.
    RecoveryCode,
    /// A passkey.
    Passkey,
    /// A code in a mail.
    MailCode,
    /// A personal access token.
    PersonalToken,
}

/// The result of an attempt to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthResult {
    /// The client is authenticated.
    Success,
    /// The credential is wrong, expired or revoked.
    InvalidCredentials,
    /// The credential is correct, and a second factor is required.
    MfaRequired,
    /// Too many attempts have failed.
    Throttled,
    /// The queue of the hashing threads is full.
    Overloaded,
}

impl AuthMethod {
    pub(super) const ALL: [Self; 8] = [
        Self::Password,
        Self::Basic,
        Self::Refresh,
        Self::Totp,
        Self::RecoveryCode,
        Self::Passkey,
        Self::MailCode,
        Self::PersonalToken,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Basic => "basic",
            Self::Refresh => "refresh",
            Self::Totp => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey => "passkey",
            Self::MailCode => "mail_code",
            Self::PersonalToken => "personal_token",
        }
    }
}

impl AuthResult {
    pub(super) const ALL: [Self; 5] =
        [Self::Success, Self::InvalidCredentials, Self::MfaRequired, Self::Throttled, Self::Overloaded];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::InvalidCredentials => "invalid_credentials",
            Self::MfaRequired => "mfa_required",
            Self::Throttled => "throttled",
            Self::Overloaded => "overloaded",
        }
    }
}

impl ReadinessCheck {
    /// Every check.
    pub(super) const ALL: [Self; 5] =
        [Self::Database, Self::SigningKey, Self::Clock, Self::PublicUrl, Self::Schema];

    /// Returns the name in the metric and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::SigningKey => "signing_key",
            Self::Clock => "clock",
            Self::PublicUrl => "public_url",
            Self::Schema => "schema",
        }
    }
}

impl ReplicaMismatch {
    /// Every kind of difference.
    pub const ALL: [Self; 5] = [Self::Secret, Self::PublicUrl, Self::Schema, Self::Version, Self::Clock];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::PublicUrl => "public_url",
            Self::Schema => "schema",
            Self::Version => "version",
            Self::Clock => "clock",
        }
    }
}

impl TokenRejection {
    pub(super) const ALL: [Self; 4] = [Self::Invalid, Self::Expired, Self::Revoked, Self::Unverifiable];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unverifiable => "unverifiable",
        }
    }
}

impl PageLookup {
    /// Every value.
    pub(super) const ALL: [Self; 3] = [Self::Hit, Self::Outdated, Self::Miss];

    /// Returns the value of the label `result`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Outdated => "outdated",
            Self::Miss => "miss",
        }
    }
}

impl RefreshOutcome {
    pub(super) const ALL: [Self; 5] = [Self::Rotated, Self::Reused, Self::Lost, Self::Revoked, Self::Unknown];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Reused => "reused",
            Self::Lost => "lost",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

//! The kinds of security events. Their names are part of the API. Later versions can add names, so apps must
//! accept unknown names.

/// A kind of security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The account was created.
    Signup,
    /// A login succeeded.
    LoginSucceeded,
    /// A login failed.
    LoginFailed,
    /// The account was used on a device for the first time.
    NewDevice,
    /// The user authenticated again.
    Reauthenticated,
    /// The user changed the password.
    PasswordChanged,
    /// The password was reset by mail.
    PasswordReset,
    /// The email address was confirmed.
    EmailConfirmed,
    /// A change of the email address was requested.
    EmailChangeRequested,
    /// The email address was changed.
    EmailChanged,
    /// A change of the email address was undone.
    EmailChangeUndone,
    /// The owner of the mailbox took over an account that another person had created.
    AccountClaimed,
    /// A session was ended.
    SessionEnded,
    /// A refresh token was used twice, so its session was ended.
    RefreshTokenReuse,
    /// An authenticator app was added.
    TotpEnabled,
    /// The authenticator app was removed.
    TotpDisabled,
    /// A recovery code was used.
    RecoveryCodeUsed,
    /// A passkey was registered.
    PasskeyAdded,
    /// A passkey was removed.
    PasskeyRemoved,
    /// Very many logins failed.
    AttackDetected,
    /// The username was changed, set or removed.
    UsernameChanged,
    /// The recovery codes were replaced by new recovery codes.
    RecoveryCodesCreated,
    /// A personal access token was created.
    TokenCreated,
    /// A personal access token was removed.
    TokenRevoked,
    /// An operator disabled the account.
    AccountDisabled,
    /// An operator enabled the account.
    AccountEnabled,
    /// An operator ended all sessions.
    SessionsEnded,
    /// An operator removed the second factors.
    MfaReset,
    /// An operator created a link to choose a password.
    PasswordResetCreated,
    /// An operator created an access token for the account.
    OperatorTokenCreated,
    /// The data of the account was exported.
    DataExported,
}

impl EventKind {
    /// Returns the stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signup => "signup",
            Self::LoginSucceeded => "login_succeeded",
            Self::LoginFailed => "login_failed",
            Self::NewDevice => "new_device",
            Self::Reauthenticated => "reauthenticated",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::EmailConfirmed => "email_confirmed",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::EmailChangeUndone => "email_change_undone",
            Self::AccountClaimed => "account_claimed",
            Self::SessionEnded => "session_ended",
            Self::RefreshTokenReuse => "refresh_token_reuse",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpDisabled => "totp_disabled",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::AttackDetected => "attack_detected",
            Self::UsernameChanged => "username_changed",
            Self::RecoveryCodesCreated => "recovery_codes_created",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::SessionsEnded => "sessions_ended",
            Self::MfaReset => "mfa_reset",
            Self::PasswordResetCreated => "password_reset_created",
            Self::OperatorTokenCreated => "operator_token_created",
            Self::DataExported => "data_exported",
        }
    }
}

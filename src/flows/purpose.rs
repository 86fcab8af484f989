//! The purposes of flows.

use chrono::TimeDelta;

/// The lifetime of a code and its link.
const LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// The lifetime of the link that undoes a change of address, and of the link that ends a session.
const REPORT_LIFETIME: TimeDelta = TimeDelta::days(7);
/// The lifetime of the link in a warning about failed logins.
const WARNING_LIFETIME: TimeDelta = TimeDelta::days(1);

/// The purpose of a flow. A code or token is valid only for the purpose of its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Confirming the address of an account.
    ConfirmAddress,
    /// Confirming the new address of an account.
    ChangeAddress,
    /// Restoring the former address of an account.
    UndoChange,
    /// Logging in without a password.
    LogIn,
    /// Choosing a new password.
    ResetPassword,
    /// Choosing a new password after a warning about failed logins.
    SecureAccount,
    /// Proving again that a logged-in user has access to the mailbox.
    Reauthenticate,
    /// Ending a session that another person has possibly started.
    EndSession,
}

impl Purpose {
    pub(super) const ALL: [Self; 8] = [
        Self::ConfirmAddress,
        Self::ChangeAddress,
        Self::UndoChange,
        Self::LogIn,
        Self::ResetPassword,
        Self::SecureAccount,
        Self::Reauthenticate,
        Self::EndSession,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ConfirmAddress => "confirm_address",
            Self::ChangeAddress => "change_address",
            Self::UndoChange => "undo_change",
            Self::LogIn => "log_in",
            Self::ResetPassword => "reset_password",
            Self::SecureAccount => "secure_account",
            Self::Reauthenticate => "reauthenticate",
            Self::EndSession => "end_session",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    pub(super) const fn lifetime(self) -> TimeDelta {
        match self {
            Self::UndoChange | Self::EndSession => REPORT_LIFETIME,
            Self::SecureAccount => WARNING_LIFETIME,
            _ => LIFETIME,
        }
    }

    /// Returns true if the mail contains a code, and false if the mail contains only a link.
    pub(super) const fn has_code(self) -> bool {
        !matches!(self, Self::UndoChange | Self::SecureAccount | Self::EndSession)
    }
}

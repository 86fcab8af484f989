//! The kinds of mails. Each has a template.

use std::fmt;
use std::str::FromStr;

/// The kind of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Confirms the address of a new account, or a new address of an account. Contains a code and a link.
    ConfirmAddress,
    /// Reports that the account's address was entered for a new account, or as the new address of another
    /// account.
    AddressTaken,
    /// Contains a code with which the user logs in.
    LoginCode,
    /// Resets the password. Contains a code and a link.
    ResetPassword,
    /// Contains a code with which a logged-in user authenticates again.
    ReauthenticateCode,
    /// Reports to the old address that a change to another address was requested.
    AddressChangeRequested,
    /// Reports to the old address that the address was changed. Contains a link that undoes the change.
    AddressChanged,
    /// Reports a login on a new device. Contains a link that ends the session.
    NewDevice,
    /// Reports many failed logins. Contains a link that resets the password.
    AttackWarning,
    /// Reports that the password was changed.
    PasswordChanged,
    /// Tests the delivery of mails.
    Test,
}

impl MailKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::ConfirmAddress,
        Self::AddressTaken,
        Self::LoginCode,
        Self::ResetPassword,
        Self::ReauthenticateCode,
        Self::AddressChangeRequested,
        Self::AddressChanged,
        Self::NewDevice,
        Self::AttackWarning,
        Self::PasswordChanged,
        Self::Test,
    ];

    /// Returns the name of the kind: the name of its template and its value in the outbox.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfirmAddress => "confirm_address",
            Self::AddressTaken => "address_taken",
            Self::LoginCode => "login_code",
            Self::ResetPassword => "reset_password",
            Self::ReauthenticateCode => "reauthenticate_code",
            Self::AddressChangeRequested => "address_change_requested",
            Self::AddressChanged => "address_changed",
            Self::NewDevice => "new_device",
            Self::AttackWarning => "attack_warning",
            Self::PasswordChanged => "password_changed",
            Self::Test => "test",
        }
    }

    /// Returns the letter of a reserved kind, or `None` for the other kinds. The first mail of a reserved
    /// kind within an hour ignores the hourly limit of the mailbox, and the first one within a day ignores
    /// the daily limit. Without this reserve, an attacker could use up the budget of a mailbox to suppress
    /// the mails that protect an account.
    pub(super) fn reserved_letter(self) -> Option<char> {
        match self {
            Self::ResetPassword => Some('r'),
            Self::AddressChanged => Some('c'),
            Self::PasswordChanged => Some('p'),
            Self::AttackWarning => Some('w'),
            Self::NewDevice => Some('d'),
            _ => None,
        }
    }
}

impl fmt::Display for MailKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a text that is not the name of a kind of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKind;

impl FromStr for MailKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

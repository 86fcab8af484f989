//! The kinds of mails. Each has a template.

use std::fmt;
use std::str::FromStr;

/// What a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// Confirms the address of a new account, or a new address of an account: code and link.
    ConfirmAddress,
    /// The address was entered for a new account or as a new address, but already belongs to this account.
    AddressTaken,
    /// Logs in: code.
    LoginCode,
    /// Resets the password: code and link.
    ResetPassword,
    /// Confirms the identity of a logged-in user: code.
    ReauthenticateCode,
    /// Reports to the old address that a change to another one was requested.
    AddressChangeRequested,
    /// Reports to the old address that the address was changed: link that undoes the change.
    AddressChanged,
    /// Reports a login on a new device: link that ends the session.
    NewDevice,
    /// Reports many failed logins: link that resets the password.
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

    /// Returns the letter of a kind whose first mail within an hour and a day is always accepted. An attacker
    /// could otherwise use up the budget of a mailbox to suppress the mails that protect an account.
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

/// The text is not the name of a kind of mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKind;

impl FromStr for MailKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownKind)
    }
}

//! The request body of a sign-up.

use poem_openapi::Object;
use poem_openapi::types::{Example, Password as PasswordText};

use crate::accounts::api::{EmailText, UsernameText, password_error};
use crate::accounts::{Accounts, Email, NewUser, Username};
use crate::web::examples;
use crate::web::plain_text::Line;
use crate::web::problem::FieldError;

/// A new account. Requires `email`, `username` or both.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct SignUp {
    /// Email address for logging in and for contact. Compared without regard to case; white space around it is
    /// removed.
    #[oai(nullable)]
    email: Option<EmailText>,
    /// Username for logging in: 3 to 32 letters (A to Z), digits, `.`, `_` and `-`, beginning with a letter or
    /// digit. Compared without regard to case; white space around it is removed.
    #[oai(nullable)]
    username: Option<UsernameText>,
    /// At least 8 characters unless the server is configured otherwise, and at most 71 bytes in UTF-8. It
    /// must not be a common password, the email address, the part of the email address before the `@`, or the
    /// username. It need not contain certain kinds of characters: a sentence is fine.
    password: PasswordText,
    /// Name that apps display, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    display_name: Option<Line>,
    /// Name of the device in the user's list of sessions, 1 to 100 characters in one line.
    #[oai(nullable, validator(min_length = 1, max_length = 100))]
    device_name: Option<Line>,
    /// Language of emails: a language tag (BCP 47), such as `de` or `pt-BR`.
    #[oai(
        nullable,
        validator(min_length = 2, max_length = 35, pattern = "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
    )]
    locale: Option<String>,
    /// Invitation code from the operator of the server. Required if the server requires an invitation, and ignored
    /// otherwise. Compared without regard to case, spaces and hyphens.
    #[oai(nullable)]
    invite_code: Option<String>,
}

/// A sign-up whose values are valid.
pub(super) struct CheckedSignUp {
    pub(super) new: NewUser,
    pub(super) device_name: Option<String>,
    pub(super) invite_code: Option<String>,
}

impl Example for SignUp {
    fn example() -> Self {
        Self {
            email: examples::EMAIL.parse().ok().map(EmailText),
            username: None,
            password: PasswordText(examples::PASSWORD.to_owned()),
            display_name: Line::parse(examples::NAME),
            device_name: Line::parse(examples::DEVICE),
            locale: Some(examples::LOCALE.to_owned()),
            invite_code: None,
        }
    }
}

impl SignUp {
    /// Checks the values. Returns the new user, the device name and the invitation code, or the errors that
    /// `schema_errors` does not contain already.
    pub(super) fn check(
        self,
        accounts: &Accounts,
        schema_errors: &[FieldError],
    ) -> Result<CheckedSignUp, Vec<FieldError>> {
        let mut errors = Vec::new();
        let is_invalid = |pointer| schema_errors.iter().any(|error| error.pointer == pointer);
        if self.email.is_none()
            && self.username.is_none()
            && !is_invalid("/email")
            && !is_invalid("/username")
        {
            errors.push(FieldError::new("/email", "required", "Email address or username is required."));
        }
        let email = self.email.map(|text| text.0);
        let username = self.username.map(|text| text.0);
        let entered = [email.as_ref().map(Email::as_entered), username.as_ref().map(Username::as_entered)];
        let identifiers: Vec<&str> = entered.into_iter().flatten().collect();
        match accounts.check_new_password(&self.password, &identifiers) {
            Ok(password) if errors.is_empty() => {
                let display_name = self.display_name.map(String::from);
                let new = NewUser { email, username, password, display_name, locale: self.locale };
                let device_name = self.device_name.map(String::from);
                Ok(CheckedSignUp { new, device_name, invite_code: self.invite_code })
            }
            Ok(_) => Err(errors),
            Err(violation) => {
                errors.push(password_error("/password", violation));
                Err(errors)
            }
        }
    }
}

//! The identifiers of a login: email addresses and usernames.

use std::str::FromStr;
use std::sync::LazyLock;

use email_address::{EmailAddress, Options};
use regex::Regex;
use unicode_normalization::UnicodeNormalization;

/// The maximum length of an address, in characters (RFC 5321 §4.5.3.1.3 allows 256 with its angle brackets).
pub const EMAIL_MAX: usize = 254;
/// The minimum length of a username, in characters.
pub const USERNAME_MIN: usize = 3;
/// The maximum length of a username, in characters.
pub const USERNAME_MAX: usize = 32;

/// The pattern of a username: lower-case ASCII letters, digits, `.`, `_` and `-`, with a letter or digit first.
pub const USERNAME_PATTERN: &str = "^[a-z0-9][a-z0-9._-]{2,31}$";

/// An email address, as entered and in normalized form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    as_entered: String,
    normalized: String,
}

/// A username, as entered and in normalized form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    as_entered: String,
    normalized: String,
}

/// The text is not a valid email address or not a valid username.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIdentifier;

/// Folds compatibility forms (NFKC) and case, so that spellings which look the same to a reader or to a mail
/// server compare equal.
fn normalize(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

impl Email {
    /// Returns the text as the user entered it.
    pub fn as_entered(&self) -> &str {
        &self.as_entered
    }

    /// Returns the normalized form, which is unique.
    pub fn normalized(&self) -> &str {
        &self.normalized
    }
}

impl FromStr for Email {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        let address = EmailAddress::parse_with_options(text, options).map_err(|_| InvalidIdentifier)?;
        let normalized = normalize(address.as_str());
        // Folding can make an address invalid, for example by adding a second `@`.
        let is_still_valid = EmailAddress::parse_with_options(&normalized, options).is_ok();
        let fits = text.chars().count() <= EMAIL_MAX && normalized.chars().count() <= EMAIL_MAX;
        if !is_still_valid || !fits || text.chars().any(char::is_control) {
            return Err(InvalidIdentifier);
        }
        Ok(Self { as_entered: text.to_owned(), normalized })
    }
}

impl Username {
    /// Returns the text as the user entered it.
    pub fn as_entered(&self) -> &str {
        &self.as_entered
    }

    /// Returns the normalized form, which is unique.
    pub fn normalized(&self) -> &str {
        &self.normalized
    }
}

impl FromStr for Username {
    type Err = InvalidIdentifier;

    /// Accepts what [`USERNAME_PATTERN`] matches.
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        static REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(USERNAME_PATTERN).ok());
        if REGEX.as_ref().is_some_and(|regex| regex.is_match(text)) {
            Ok(Self { as_entered: text.to_owned(), normalized: text.to_owned() })
        } else {
            Err(InvalidIdentifier)
        }
    }
}

/// The identifier in a login request, in normalized form. A username never contains an `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// An email address; it may not exist.
    Email(String),
    /// A username; it may not exist.
    Username(String),
}

impl Identifier {
    /// Normalizes any text that a client sent.
    pub fn from_entered(text: &str) -> Self {
        let normalized = normalize(text);
        if normalized.contains('@') { Self::Email(normalized) } else { Self::Username(normalized) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_case_and_compares_without_case() {
        let email: Email = "Ada.Lovelace@Example.ORG".parse().unwrap();
        assert_eq!(email.as_entered(), "Ada.Lovelace@Example.ORG");
        assert_eq!(email.normalized(), "ada.lovelace@example.org");
        assert_eq!(
            Identifier::from_entered("ADA.lovelace@example.org"),
            Identifier::Email(email.normalized().to_owned())
        );
    }

    #[test]
    fn spellings_that_look_alike_are_the_same_address() {
        // S-50
        let plain: Email = "ada@example.org".parse().unwrap();
        for text in ["ＡＤＡ@example.org", "ada@EXAMPLE.org", "ⓐda@example.org"] {
            assert_eq!(text.parse::<Email>().unwrap().normalized(), plain.normalized(), "{text}");
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        let long = format!("{}@example.org", "x".repeat(65));
        for text in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "ada@example",
            "Ada <ada@example.org>",
            "ada@[127.0.0.1]",
            "ada@example.org\r\nBcc: x@y.z",
            "ada@@example.org",
            "ada＠b@example.org",
            &long,
        ] {
            assert!(text.parse::<Email>().is_err(), "{text}");
        }
    }

    #[test]
    fn usernames_must_match_the_pattern() {
        for text in ["ada", "a.l", "4ever-young_x", &"x".repeat(32)] {
            assert!(text.parse::<Username>().is_ok(), "{text}");
        }
        for text in ["ab", "Ada", ".ada", "-ada", "a@b.c", "ada lovelace", "äda", "", &"x".repeat(33)] {
            assert!(text.parse::<Username>().is_err(), "{text}");
        }
    }
}

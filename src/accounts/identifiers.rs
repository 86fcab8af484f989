//! What people log in with: an email address, a username, or both.

use std::str::FromStr;

use email_address::{EmailAddress, Options};
use unicode_normalization::UnicodeNormalization;

/// The longest address, in characters (RFC 5321 §4.5.3.1.3 allows 256 with its angle brackets).
pub const EMAIL_MAX: usize = 254;
/// The shortest username, in characters.
pub const USERNAME_MIN: usize = 3;
/// The longest username, in characters.
pub const USERNAME_MAX: usize = 32;

/// An email address: as given, and as compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    given: String,
    key: String,
}

/// A username: as given, and as compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    given: String,
    key: String,
}

/// The text is no email address or no username.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIdentifier;

/// Spellings that look the same to a reader or to a mail server are the same: compatibility forms
/// are folded (NFKC) and case is dropped.
fn key(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

impl Email {
    /// As its owner wrote it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The form under which it is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for Email {
    type Err = InvalidIdentifier;

    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
        let address = EmailAddress::parse_with_options(text, options).map_err(|_| InvalidIdentifier)?;
        let key = key(address.as_str());
        // Folding must not turn it into something else, such as an address with a second `@`.
        let same = EmailAddress::parse_with_options(&key, options).is_ok();
        let short = text.chars().count() <= EMAIL_MAX && key.chars().count() <= EMAIL_MAX;
        if !same || !short || text.chars().any(char::is_control) {
            return Err(InvalidIdentifier);
        }
        Ok(Self { given: text.to_owned(), key })
    }
}

impl Username {
    /// As its owner wrote it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The form under which it is unique.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl FromStr for Username {
    type Err = InvalidIdentifier;

    /// Lower-case letters, digits, `.`, `_` and `-`, the first a letter or digit.
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = (USERNAME_MIN..=USERNAME_MAX).contains(&text.len())
            && text.starts_with(plain)
            && text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
        if fits { Ok(Self { given: text.to_owned(), key: text.to_owned() }) } else { Err(InvalidIdentifier) }
    }
}

/// What somebody typed to log in: which of the two it is, as compared. A username never has an `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// An email address, perhaps nobody's.
    Email(String),
    /// A username, perhaps nobody's.
    Username(String),
}

impl Identifier {
    /// Takes whatever was typed.
    pub fn given(text: &str) -> Self {
        let key = key(text);
        if key.contains('@') { Self::Email(key) } else { Self::Username(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_stored_as_given_and_compared_without_case() {
        let email: Email = "Ada.Lovelace@Example.ORG".parse().unwrap();
        assert_eq!((email.given(), email.key()), ("Ada.Lovelace@Example.ORG", "ada.lovelace@example.org"));
        assert_eq!(Identifier::given("ADA.lovelace@example.org"), Identifier::Email(email.key().to_owned()));
    }

    #[test]
    fn spellings_that_look_alike_are_one_address() {
        // S-50
        let plain: Email = "ada@example.org".parse().unwrap();
        for text in ["ＡＤＡ@example.org", "ada@EXAMPLE.org", "ⓐda@example.org"] {
            assert_eq!(text.parse::<Email>().unwrap().key(), plain.key(), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
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
    fn usernames_follow_their_pattern() {
        for text in ["ada", "a.l", "4ever-young_x", &"x".repeat(32)] {
            assert!(text.parse::<Username>().is_ok(), "{text}");
        }
        for text in ["ab", "Ada", ".ada", "-ada", "a@b.c", "ada lovelace", "äda", "", &"x".repeat(33)] {
            assert!(text.parse::<Username>().is_err(), "{text}");
        }
    }
}

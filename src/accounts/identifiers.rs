//! The identifiers of a login: email addresses and usernames.
//!
//! White space around an identifier is always removed. An identifier is stored as the user entered it, and
//! compared by its canonical form ([`identifiers::canonical`]), which is unique in the database.

use std::str::FromStr;
use std::sync::LazyLock;

use email_address::{EmailAddress, Options};
use identifiers::{canonical, domain_to_ascii, has_invisible};
use regex::Regex;

/// The maximum length of an address, in characters (RFC 5321 §4.5.3.1.3 allows 256, including the angle
/// brackets around the address).
pub const EMAIL_MAX: usize = 254;
/// The minimum length of a username, in characters.
pub const USERNAME_MIN: usize = 3;
/// The maximum length of a username, in characters.
pub const USERNAME_MAX: usize = 32;

/// The pattern of a username: ASCII letters, digits, `.`, `_` and `-`, with a letter or digit first.
pub const USERNAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{2,31}$";

/// Describes [`USERNAME_PATTERN`] for people. Continues a sentence that begins with "a username".
pub const USERNAME_RULE: &str = "must have 3 to 32 letters (A to Z), digits, dots, underscores or hyphens, \
                                 and begin with a letter or digit";

/// An email address, as entered and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    as_entered: String,
    canonical: String,
}

/// A username, as entered and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    as_entered: String,
    canonical: String,
}

/// The error for a text that is not a valid email address, or not a valid username.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIdentifier;

impl Email {
    /// Returns the text as the user entered it, without white space around it.
    pub fn as_entered(&self) -> &str {
        &self.as_entered
    }

    /// Returns the canonical form, which is unique.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl FromStr for Email {
    type Err = InvalidIdentifier;

    /// Accepts an address with a domain name. Rejects address literals, control characters, and code points
    /// that fonts don't show.
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        let text = text.trim();
        if text.chars().any(is_forbidden) || has_invisible(text) || !is_address(text) {
            return Err(InvalidIdentifier);
        }
        let canonical = canonical(text);
        // The conversion of full-width characters can make an address invalid, for example by adding a second
        // `@`.
        let domain = canonical.rsplit_once('@').and_then(|(_, domain)| domain_to_ascii(domain));
        let has_name = domain.is_some_and(|domain| !is_ip_address(&domain));
        let fits = text.chars().count() <= EMAIL_MAX && canonical.chars().count() <= EMAIL_MAX;
        if !has_name || !fits || !is_address(&canonical) {
            return Err(InvalidIdentifier);
        }
        Ok(Self { as_entered: text.to_owned(), canonical })
    }
}

fn is_address(text: &str) -> bool {
    let options = Options::default().with_required_tld().without_domain_literal().without_display_text();
    EmailAddress::parse_with_options(text, options).is_ok()
}

/// Returns whether the character is invalid in every address. A space is valid between quotes.
fn is_forbidden(character: char) -> bool {
    character.is_control() || (character.is_whitespace() && character != ' ')
}

/// Returns whether a host is an IPv4 address. This is the case if its last label is a number (URL Standard,
/// "ends in a number").
fn is_ip_address(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
    is_hexadecimal || last.chars().all(|character| character.is_ascii_digit())
}

impl Username {
    /// Returns the text as the user entered it, without white space around it.
    pub fn as_entered(&self) -> &str {
        &self.as_entered
    }

    /// Returns the canonical form, which is unique.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

impl FromStr for Username {
    type Err = InvalidIdentifier;

    /// Accepts a text that matches [`USERNAME_PATTERN`] after the white space around it is removed.
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        static REGEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(USERNAME_PATTERN).ok());
        let text = text.trim();
        if REGEX.as_ref().is_some_and(|regex| regex.is_match(text)) {
            Ok(Self { as_entered: text.to_owned(), canonical: canonical(text) })
        } else {
            Err(InvalidIdentifier)
        }
    }
}

/// The identifier in a login request, in canonical form. A username never contains an `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// An email address. An account with this address need not exist.
    Email(String),
    /// A username. An account with this username need not exist.
    Username(String),
}

impl Identifier {
    /// Parses the text that a client has sent. The text need not be a valid identifier. Returns `None` if the
    /// text is longer than any valid identifier, because computing the canonical form of 256 KiB of text
    /// would block a worker thread.
    pub fn from_entered(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > 4 * EMAIL_MAX {
            return None;
        }
        let canonical = canonical(text);
        Some(if canonical.contains('@') { Self::Email(canonical) } else { Self::Username(canonical) })
    }

    /// Returns the canonical form.
    pub fn canonical(&self) -> &str {
        match self {
            Self::Email(canonical) | Self::Username(canonical) => canonical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_keeps_its_case_and_is_compared_ignoring_case() {
        let email: Email = " Ada.Lovelace@Example.ORG\n".parse().unwrap();
        assert_eq!(email.as_entered(), "Ada.Lovelace@Example.ORG");
        assert_eq!(email.canonical(), "ada.lovelace@example.org");
        assert_eq!(
            Identifier::from_entered("\tADA.lovelace@example.org "),
            Some(Identifier::Email(email.canonical().to_owned()))
        );
    }

    #[test]
    fn different_spellings_of_one_mailbox_are_the_same_address() {
        // S-50, A-6
        let plain: Email = "ada@example.org".parse().unwrap();
        for text in ["ＡＤＡ@example.org", "ada@EXAMPLE.org", "\"ada\"@example.org", "\"a\\da\"@example.org"]
        {
            assert_eq!(text.parse::<Email>().unwrap().canonical(), plain.canonical(), "{text}");
        }
        let labels: Email = "b@xn--mnchen-3ya.de".parse().unwrap();
        assert_eq!("B@MÜNCHEN.de".parse::<Email>().unwrap().canonical(), labels.canonical());
    }

    #[test]
    fn invalid_email_addresses_are_rejected() {
        //
        let long = format!("{}@example.org", "x".repeat(65));
        let long_labels = format!("a@{}org", "üüüüüüüüüüüüüüüüüüüü.".repeat(11));
        for text in [
            "",
            "ada",
            "ada@",
            "@example.org",
            "a b@example.org",
            "ada@example",
            "Ada <ada@example.org>",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "ada@127.0.0.1",
            "ada@1.2.3.4",
            "ada@１.2.3.4",
            "ada@127.0x1",
            "ada@example.org\r\nBcc: x@y.z",
            "ada@@example.org",
            "ada＠b@example.org",
            "ada＠example.org",
            "a\u{3000}b@example.org",
            "ad\u{115F}a@example.org",
            "ada\u{3164}@example.org",
            "ada@exam\u{AD}ple.org",
            "ad\u{202E}a@example.org",
            "ada@xn--a.org",
            "ada@-example.org",
            &long,
            &long_labels,
        ] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_username_must_have_an_allowed_length_and_only_allowed_characters() {
        // N-5
        for text in ["ada", "a.l", "4ever-young_x", "Grace12", "ADA", " ada\n", &"x".repeat(32)] {
            let name: Username = text.parse().unwrap();
            assert_eq!(name.as_entered(), text.trim());
            assert_eq!(name.canonical(), text.trim().to_ascii_lowercase());
            let entered = Identifier::from_entered(text);
            assert_eq!(entered, Some(Identifier::Username(name.canonical().to_owned())));
        }
        for text in ["ab", ".ada", "-ada", "a@b.c", "ada lovelace", "äda", "ＡＤＡ", "", &"x".repeat(33)]
        {
            assert!(text.parse::<Username>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_longer_than_any_identifier_is_not_parsed() {
        assert_eq!(Identifier::from_entered(&"x".repeat(4 * EMAIL_MAX + 1)), None);
        assert!(Identifier::from_entered(&" ".repeat(8 * EMAIL_MAX)).is_some());
    }
}

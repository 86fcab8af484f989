//! The password policy.
//!
//! The policy checks the length of a password. It rejects common passwords, the name of the service, the
//! identifiers of the user, and passwords with a NUL character. It does not require certain kinds of
//! characters (NIST SP 800-63B-4 §3.1.1.2).

use identifiers::canonical;

use crate::passwords::{MAX_BYTES, Password};

/// The 19,640 most common passwords (Royce Williams' list, as shipped with Django), sorted, in lower case.
static COMMON: &str = include_str!("common_passwords.txt");

/// Why a new password is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyViolation {
    /// The password has fewer characters than the given minimum.
    #[error("Password is too short. Use at least {0} characters.")]
    TooShort(usize),
    /// The password is longer than [`MAX_BYTES`].
    #[error("Password is too long. Use at most {MAX_BYTES} bytes in UTF-8.")]
    TooLong,
    /// The password contains U+0000.
    #[error("Password must not contain a NUL character.")]
    Nul,
    /// The password is on the list of common passwords, or is the name of the service.
    #[error("Password is too common. Choose another one.")]
    TooCommon,
    /// The password is the user's email address, the part of the address before the `@`, or the username.
    #[error("Password must not be the email address or the username. Choose another one.")]
    Identifier,
}

/// The rules for new passwords.
#[derive(Clone, Copy, Debug)]
pub struct PasswordPolicy {
    /// The minimum number of characters.
    pub min_chars: usize,
}

impl PasswordPolicy {
    /// Checks a new password. `identifiers` are the user's email address and username.
    ///
    /// # Errors
    ///
    /// The first [`PolicyViolation`].
    pub fn check(self, text: &str, identifiers: &[&str]) -> Result<Password, PolicyViolation> {
        if text.contains('\0') {
            return Err(PolicyViolation::Nul);
        }
        let password = Password::parse(text).ok_or(PolicyViolation::TooLong)?;
        if password.as_str().chars().count() < self.min_chars {
            return Err(PolicyViolation::TooShort(self.min_chars));
        }
        let folded = password.as_str().to_lowercase();
        if identifiers.iter().any(|identifier| is_identifier(password.as_str(), identifier)) {
            return Err(PolicyViolation::Identifier);
        }
        if folded == "tripgate" || is_common(&folded) {
            return Err(PolicyViolation::TooCommon);
        }
        Ok(password)
    }
}

/// Returns whether the password is the identifier or, if the identifier is an email address, its part before the
/// `@`.
fn is_identifier(password: &str, identifier: &str) -> bool {
    let (password, identifier) = (canonical(password), canonical(identifier));
    identifier == password || identifier.rsplit_once('@').is_some_and(|(local, _)| local == password)
}

fn is_common(folded: &str) -> bool {
    // The lines are sorted by bytes, so a binary search over byte positions works without a table of the
    // lines.
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = low.midpoint(high);
        let start =
            COMMON.as_bytes().get(..middle).and_then(|head| head.iter().rposition(|byte| *byte == b'\n'));
        let start = start.map_or(0, |newline| newline + 1);
        let line = COMMON.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        match line.cmp(folded) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = start + line.len() + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn violation(text: &str) -> Option<PolicyViolation> {
        PasswordPolicy { min_chars: 8 }.check(text, &["Ada@example.org", "ada.l"]).err()
    }

    #[test]
    fn every_listed_common_password_is_found() {
        // S-5
        assert!(COMMON.lines().is_sorted());
        assert!(COMMON.lines().all(is_common));
    }

    #[test]
    fn a_password_that_is_common_or_the_service_name_or_an_identifier_of_the_user_is_rejected() {
        // S-5
        assert_eq!(violation("password123"), Some(PolicyViolation::TooCommon));
        assert_eq!(violation("PassWord123"), Some(PolicyViolation::TooCommon));
        assert_eq!(violation("Tripgate"), Some(PolicyViolation::TooCommon));
        assert_eq!(violation("ada@EXAMPLE.org"), Some(PolicyViolation::Identifier));
        assert_eq!(
            PasswordPolicy { min_chars: 8 }.check("ada.lovelace", &["ada.lovelace@example.org"]),
            Err(PolicyViolation::Identifier)
        );
        assert_eq!(
            PasswordPolicy { min_chars: 5 }.check("Ada.L", &["ada.l"]),
            Err(PolicyViolation::Identifier)
        );
    }

    #[test]
    fn the_minimum_password_length_counts_characters_and_the_maximum_counts_bytes() {
        // S-1, S-2, S-3
        assert_eq!(violation("öäüöäüö"), Some(PolicyViolation::TooShort(8)));
        assert_eq!(violation("öäüöäüöä"), None);
        assert_eq!(violation(&"x".repeat(71)), None);
        assert_eq!(violation(&"x".repeat(72)), Some(PolicyViolation::TooLong));
        assert_eq!(violation(&"ö".repeat(36)), Some(PolicyViolation::TooLong));
        assert_eq!(violation("abcdefgh\0ijk"), Some(PolicyViolation::Nul));
    }

    #[test]
    fn a_password_may_consist_of_one_kind_of_character() {
        // S-6
        for text in ["only lower case", "        ", "🦀🦀🦀🦀🦀🦀🦀🦀", "98437598437"] {
            assert_eq!(violation(text), None, "{text}");
        }
    }

    #[test]
    fn canonically_equivalent_unicode_texts_are_the_same_password() {
        // S-7
        assert_eq!(Password::parse("Amélie-Zoë"), Password::parse("Ame\u{301}lie-Zoe\u{308}"));
        assert_ne!(Password::parse("amélie-zoë"), Password::parse("Amélie-Zoë"));
        assert_ne!(Password::parse("Amélie-Zoë "), Password::parse("Amélie-Zoë"));
    }

    proptest! {
        #[test]
        fn a_password_that_the_policy_accepts_is_never_truncated_by_bcrypt(text in "\\PC{0,80}") {
            if let Ok(password) = (PasswordPolicy { min_chars: 8 }).check(&text, &[]) {
                prop_assert!(password.as_str().len() <= MAX_BYTES);
                prop_assert_eq!(Some(password), Password::parse(&text));
            }
        }

        #[test]
        fn the_binary_search_finds_the_same_passwords_as_a_linear_scan(text in "[a-z0-9]{1,6}") {
            prop_assert_eq!(is_common(&text), COMMON.lines().any(|line| line == text));
        }
    }
}

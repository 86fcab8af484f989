//! What is accepted as a password.
//!
//! Length and a list of what everybody tries, no composition rules (NIST SP 800-63B-4 §3.1.1.2).

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// The longest password, in bytes of UTF-8 after NFC: bcrypt's 72 with its terminating NUL.
pub const MAX_BYTES: usize = 71;

/// The 19,640 commonest passwords (Royce Williams' list, as shipped with Django), sorted, in lower case.
static COMMON: &str = include_str!("common.txt");

/// A password that bcrypt can take whole: NFC, at most [`MAX_BYTES`], without NUL.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Takes what somebody typed to log in; `None` for what can't be anybody's password.
    pub fn given(text: &str) -> Option<Self> {
        // Normalising makes no text shorter than a third, so a huge one need not be looked at.
        if text.len() > 4 * MAX_BYTES {
            return None;
        }
        let normal: String = text.nfc().collect();
        (normal.len() <= MAX_BYTES && !normal.contains('\0')).then_some(Self(normal))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a new password is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyViolation {
    /// Fewer characters than the minimum, which is given.
    #[error("must have at least {0} characters")]
    TooShort(usize),
    /// More than [`MAX_BYTES`].
    #[error("must have at most {MAX_BYTES} bytes in UTF-8")]
    TooLong,
    /// Contains U+0000.
    #[error("must not contain a NUL character")]
    Nul,
    /// On the list, or the service's name.
    #[error("is one of the passwords that are tried first; choose another")]
    TooCommon,
    /// The user's own email address or username.
    #[error("must differ from the email address and the username")]
    Identifier,
}

/// Checks a new password; `identifiers` are what its owner logs in with.
///
/// # Errors
///
/// The first [`PolicyViolation`].
pub fn check(text: &str, identifiers: &[&str], min_chars: usize) -> Result<Password, PolicyViolation> {
    if text.contains('\0') {
        return Err(PolicyViolation::Nul);
    }
    let password = Password::given(text).ok_or(PolicyViolation::TooLong)?;
    if password.0.chars().count() < min_chars {
        return Err(PolicyViolation::TooShort(min_chars));
    }
    let folded = password.0.to_lowercase();
    if identifiers.iter().any(|identifier| names(identifier, &folded)) {
        return Err(PolicyViolation::Identifier);
    }
    if folded == "tripgate" || is_common(&folded) {
        return Err(PolicyViolation::TooCommon);
    }
    Ok(password)
}

/// Whether the password is the identifier, or the name before an address's `@`.
fn names(identifier: &str, folded: &str) -> bool {
    let identifier: String = identifier.nfc().collect::<String>().to_lowercase();
    identifier == folded || identifier.split('@').next() == Some(folded)
}

fn is_common(folded: &str) -> bool {
    // Sorted by bytes, a line each: a binary search over byte positions needs no table in memory.
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

    fn fault(text: &str) -> Option<PolicyViolation> {
        check(text, &["Ada@example.org", "ada.l"], 8).err()
    }

    #[test]
    fn every_entry_of_the_list_is_found() {
        // S-5
        assert!(COMMON.lines().is_sorted());
        assert!(COMMON.lines().all(is_common));
    }

    #[test]
    fn the_list_the_service_and_the_identifier_are_refused() {
        // S-5
        assert_eq!(fault("password123"), Some(PolicyViolation::TooCommon));
        assert_eq!(fault("PassWord123"), Some(PolicyViolation::TooCommon));
        assert_eq!(fault("Tripgate"), Some(PolicyViolation::TooCommon));
        assert_eq!(fault("ada@EXAMPLE.org"), Some(PolicyViolation::Identifier));
        assert_eq!(check("ada.lovelace", &["ada.lovelace@example.org"], 8), Err(PolicyViolation::Identifier));
    }

    #[test]
    fn length_counts_characters_below_and_bytes_above() {
        // S-1, S-2, S-3
        assert_eq!(fault("öäüöäüö"), Some(PolicyViolation::TooShort(8)));
        assert_eq!(fault("öäüöäüöä"), None);
        assert_eq!(fault(&"x".repeat(71)), None);
        assert_eq!(fault(&"x".repeat(72)), Some(PolicyViolation::TooLong));
        assert_eq!(fault(&"ö".repeat(36)), Some(PolicyViolation::TooLong));
        assert_eq!(fault("abcdefgh\0ijk"), Some(PolicyViolation::Nul));
    }

    #[test]
    fn there_are_no_composition_rules() {
        // S-6
        for text in ["only lower case", "        ", "🦀🦀🦀🦀🦀🦀🦀🦀", "98437598437"] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn spellings_of_the_same_text_are_the_same_password() {
        // S-7
        assert_eq!(Password::given("Amélie-Zoë"), Password::given("Ame\u{301}lie-Zoe\u{308}"));
        assert_ne!(Password::given("amélie-zoë"), Password::given("Amélie-Zoë"));
        assert_ne!(Password::given("Amélie-Zoë "), Password::given("Amélie-Zoë"));
    }

    proptest! {
        #[test]
        fn what_is_accepted_fits_bcrypt_whole(text in "\\PC{0,80}") {
            if let Ok(password) = check(&text, &[], 8) {
                prop_assert!(password.as_str().len() <= MAX_BYTES);
                prop_assert_eq!(Some(password), Password::given(&text));
            }
        }

        #[test]
        fn the_search_agrees_with_a_scan(text in "[a-z0-9]{1,6}") {
            prop_assert_eq!(is_common(&text), COMMON.lines().any(|line| line == text));
        }
    }
}

//! A password in the form that bcrypt accepts.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Maximum length of a password in bytes of UTF-8 after NFC: bcrypt accepts 72 bytes, and the terminating NUL
/// is one of them.
pub const MAX_BYTES: usize = 71;

/// A password that bcrypt hashes without truncation: NFC, at most [`MAX_BYTES`], without NUL.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// Parses a new password, or a password entered at login. Returns `None` if the password is longer than
    /// [`MAX_BYTES`] or contains NUL.
    pub fn parse(text: &str) -> Option<Self> {
        // NFC never shortens a text to less than a quarter of its bytes, so the result would be too long.
        if text.len() > 4 * MAX_BYTES {
            return None;
        }
        let normalized: String = text.nfc().collect();
        (normalized.len() <= MAX_BYTES && !normalized.contains('\0')).then_some(Self(normalized))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

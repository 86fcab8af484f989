//! The text of a personal access token: `tgp_`, the id (32 hexadecimal digits), the secret (64) and a checksum
//! (8), in lower case.
//!
//! With the prefix and the fixed length, secret scanners find leaked tokens. The checksum is the beginning of
//! the SHA-256 of everything before it. With the checksum, scanners discard false findings, and the server
//! rejects mistyped tokens without a query.

use std::fmt::{self, Write};

use uuid::Uuid;

use crate::secrets::{constant_time_eq, random_bytes, sha256};

/// The prefix of every personal access token.
pub(super) const PREFIX: &str = "tgp_";
/// The prefix that separates the hashes of tokens from other messages under the same MAC key.
const CONTEXT: &[u8] = b"personal token v1";
const ID_DIGITS: usize = 32;
const SECRET_DIGITS: usize = 64;
const CHECKSUM_BYTES: usize = 4;
/// The length of a token in characters. Every password of an account is shorter, so the server can tell a
/// token from a password.
const LENGTH: usize = PREFIX.len() + ID_DIGITS + SECRET_DIGITS + 2 * CHECKSUM_BYTES;

/// A well-formed token, which may be unknown or no longer valid.
#[derive(Clone)]
pub(super) struct TokenText {
    /// The id of the token.
    pub(super) id: Uuid,
    secret: [u8; 32],
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenText({})", self.id)
    }
}

impl TokenText {
    /// Creates a token with a random secret of 256 bits.
    pub(super) fn random(id: Uuid) -> Self {
        Self { id, secret: random_bytes() }
    }

    /// Parses a text. Returns `None` if the text has another form or a wrong checksum.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH || !text.starts_with(PREFIX) {
            return None;
        }
        let (checked, sum) = text.split_at_checked(LENGTH - 2 * CHECKSUM_BYTES)?;
        if !constant_time_eq(sum.as_bytes(), checksum(checked).as_bytes()) {
            return None;
        }
        let (id, secret) = checked.strip_prefix(PREFIX)?.split_at_checked(ID_DIGITS)?;
        Some(Self { id: Uuid::from_bytes(from_hex(id)?), secret: from_hex(secret)? })
    }

    /// Returns the token as text.
    pub(super) fn encode(&self) -> String {
        let checked = format!("{PREFIX}{}{}", to_hex(self.id.as_bytes()), to_hex(&self.secret));
        let sum = checksum(&checked);
        checked + &sum
    }

    /// Returns the message whose keyed hash is stored.
    pub(super) fn message(&self) -> Vec<u8> {
        [CONTEXT, self.id.as_bytes(), &self.secret].concat()
    }
}

fn checksum(text: &str) -> String {
    to_hex(sha256(text.as_bytes()).get(..CHECKSUM_BYTES).unwrap_or_default())
}

/// Returns the bytes as hexadecimal digits in lower case.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string never fails.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// Parses hexadecimal digits in lower case.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_personal_token_is_parsed_as_it_was_encoded_and_a_modified_one_is_rejected(
            id in any::<u128>(),
            at in 0..LENGTH,
            new in "[0-9a-zA-Z_]",
        ) {
            // S-93
            let token = TokenText::random(Uuid::from_u128(id));
            let text = token.encode();
            prop_assert_eq!(text.len(), LENGTH);
            let parsed = TokenText::parse(&text).unwrap();
            prop_assert_eq!((parsed.id, parsed.secret), (token.id, token.secret));
            let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(modified != text);
            prop_assert!(TokenText::parse(&modified).is_none());
        }

        #[test]
        fn a_text_that_is_not_a_personal_token_is_rejected(text in "\\PC{0,200}") {
            prop_assert!(TokenText::parse(&text).is_none());
        }
    }
}

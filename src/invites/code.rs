//! The text of an invitation code: 100 random bits in Base32, in five groups: `k4fz-2q7m-x5bd-yw6a-7hnc`.
//!
//! A code has so many bits that its SHA-256, which the database stores, reveals nothing.

use std::fmt;

use crate::secrets::{random_bytes, sha256};

/// The alphabet of Base32 (RFC 4648 §6) in lower case, without digits that look like letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The number of characters; each has 5 bits.
const LENGTH: usize = 20;
/// The number of characters in a group.
const GROUP: usize = 4;
/// The maximum length of a text with separators, in bytes.
const TEXT_MAX: usize = 64;

/// A well-formed code, which may be unknown or no longer valid.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteCode(String);

impl InviteCode {
    pub(super) fn random() -> Self {
        let bytes: [u8; LENGTH] = random_bytes();
        // 256 is a multiple of 32, so every character is equally probable.
        let character = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
        Self(bytes.iter().map(character).collect())
    }

    /// Parses a code in any case, with or without the separators. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let is_separator = |character: char| character == '-' || character.is_ascii_whitespace();
        let code: String = text.chars().filter(|character| !is_separator(*character)).collect();
        let code = code.to_ascii_lowercase();
        let is_code = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
        is_code.then_some(Self(code))
    }

    /// Returns the digest that the database stores.
    pub(super) fn digest(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Display for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.0.chars().enumerate() {
            if index > 0 && index % GROUP == 0 {
                f.write_str("-")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_accepted_as_people_type_it() {
        let code = InviteCode::random();
        let text = code.to_string();
        assert_eq!(text.len(), 24);
        for typed in [
            text.clone(),
            text.to_uppercase(),
            text.replace('-', ""),
            format!(" {} ", text.replace('-', " ")),
        ] {
            assert_eq!(InviteCode::parse(&typed), Some(code.clone()), "{typed}");
        }
        for wrong in ["", "aaaa-aaaa-aaaa-aaaa-aaa", "aaaa-aaaa-aaaa-aaaa-aaa1", "aaaa-aaaa-aaaa-aaaa-aaaaa"]
        {
            assert_eq!(InviteCode::parse(wrong), None, "{wrong}");
        }
        assert_eq!(InviteCode::parse(&" ".repeat(100)), None);
        assert!(InviteCode::random() != code && !format!("{code:?}").contains(&text));
    }
}

//! Recovery codes: 80 random bits in Base32, in four groups: `k4fz-2q7m-x5bd-yw6a`.
//!
//! The server stores only keyed hashes.

use std::fmt;

use super::code::Secret;
use crate::secrets::random_bytes;

/// The alphabet of Base32 (RFC 4648 §6) in lower case, without digits that look like letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The number of characters; each has 5 bits.
const LENGTH: usize = 16;
/// The number of characters in a group.
const GROUP: usize = 4;

/// A recovery code, as shown once to its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(String);

impl RecoveryCode {
    pub(super) fn random() -> Self {
        let bytes: [u8; LENGTH] = random_bytes();
        // 256 is a multiple of 32, so every character is equally probable.
        let character = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
        Self(bytes.iter().map(character).collect())
    }

    /// Parses a code in any case, with or without the separators. Returns `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > 4 * LENGTH {
            return None;
        }
        let is_separator = |character: &char| *character == '-' || *character == ' ';
        let code: String = text
            .chars()
            .filter(|character| !is_separator(character))
            .collect::<String>()
            .to_ascii_lowercase();
        let is_code = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
        is_code.then_some(Self(code))
    }

    /// Returns the keyed hash of the code.
    pub(super) fn tag(&self, secret: &Secret) -> Vec<u8> {
        secret.recovery_key().tag(self.0.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Display for RecoveryCode {
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

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_80_bits_and_is_accepted_as_people_type_it() {
        // S-91
        let code = RecoveryCode::random();
        let text = code.to_string();
        assert_eq!(text.len(), 19);
        for typed in [text.clone(), text.to_uppercase(), text.replace('-', ""), text.replace('-', " ")] {
            assert_eq!(RecoveryCode::parse(&typed), Some(code.clone()), "{typed}");
        }
        for wrong in
            ["", "aaaa-aaaa-aaaa-aaa", "aaaa-aaaa-aaaa-aaa1", "aaaa-aaaa-aaaa-aaaaa", &"a".repeat(100)]
        {
            assert_eq!(RecoveryCode::parse(wrong), None, "{wrong}");
        }
        assert_ne!(RecoveryCode::random(), code);
        assert_eq!(code.tag(&Secret::random()).len(), 32);
    }
}

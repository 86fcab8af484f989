//! Codes that people copy: random characters of Base32 in groups of four, as in `k4fz-2q7m-x5bd-yw6a`.

use std::fmt;

use super::random_bytes;

/// The alphabet of Base32 (RFC 4648 §6) in lower case. The alphabet lacks the digits 0 and 1, which look like
/// letters.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The number of characters in a group.
const GROUP: usize = 4;
/// The maximum length of a code with separators, in bytes.
const TEXT_MAX: usize = 64;

/// A code of `LENGTH` characters. Each character has 5 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupedCode<const LENGTH: usize>(String);

impl<const LENGTH: usize> GroupedCode<LENGTH> {
    /// Generates a code.
    pub fn random() -> Self {
        let bytes: [u8; LENGTH] = random_bytes();
        // 256 is a multiple of 32, so every character is equally probable.
        let character = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
        Self(bytes.iter().map(character).collect())
    }

    /// Parses a code in upper or lower case, with or without hyphens and white space. Returns `None` for any
    /// other text.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let is_separator = |character: &char| *character == '-' || character.is_ascii_whitespace();
        let code: String = text.chars().filter(|character| !is_separator(character)).collect();
        let code = code.to_ascii_lowercase();
        let is_code = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
        is_code.then_some(Self(code))
    }

    /// Returns the characters without separators.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<const LENGTH: usize> fmt::Display for GroupedCode<LENGTH> {
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

impl<const LENGTH: usize> fmt::Debug for GroupedCode<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupedCode(..)")
    }
}

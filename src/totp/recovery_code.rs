//! Recovery codes: 80 random bits in Base32, in four groups: `k4fz-2q7m-x5bd-yw6a`.
//!
//! The server stores only keyed hashes.

use std::fmt;

use super::code::Secret;
use crate::secrets::GroupedCode;

/// A recovery code, as shown once to its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryCode(GroupedCode<16>);

impl RecoveryCode {
    pub(super) fn random() -> Self {
        Self(GroupedCode::random())
    }

    /// Parses a code in upper or lower case, with or without separators. Returns `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        GroupedCode::parse(text).map(Self)
    }

    /// Returns the keyed hash of the code.
    pub(super) fn tag(&self, secret: &Secret) -> Vec<u8> {
        secret.recovery_key().tag(self.0.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Display for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_code_is_accepted_in_upper_case_and_with_other_separators() {
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

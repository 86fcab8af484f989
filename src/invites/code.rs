//! The text of an invitation code: 100 random bits in Base32, in five groups: `k4fz-2q7m-x5bd-yw6a-7hnc`.
//!
//! The database stores the SHA-256 of a code. A code has so many random bits that it can't be found from its
//! SHA-256.

use std::fmt;

use crate::secrets::{GroupedCode, sha256};

/// A well-formed code. The code may be unknown or no longer valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InviteCode(GroupedCode<20>);

impl InviteCode {
    pub(super) fn random() -> Self {
        Self(GroupedCode::random())
    }

    /// Parses a code in any case, with or without hyphens and white space. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        GroupedCode::parse(text).map(Self)
    }

    /// Returns the digest that the database stores.
    pub(super) fn digest(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Display for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_code_is_accepted_in_upper_case_and_with_other_separators() {
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

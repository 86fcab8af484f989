//! The token of a link: 16 random bytes that name it, and 16 of a code over them.
//!
//! Computed, not stored: who reads the database alone can't make one, and a made-up one is refused without
//! asking the database. It is longer than any id, so that no log shows it.

use uuid::Uuid;

use crate::secrets::MacKey;

/// What no other text that is authenticated with the same key begins with.
const KIND: &[u8] = b"trip share v1";

/// A token that is one of ours, whether or not its link still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareToken {
    /// What the link is called in the database.
    pub(super) share: Uuid,
}

impl ShareToken {
    /// As it stands in the link.
    pub(super) fn encode(self, codes: &MacKey) -> String {
        codes.seal(KIND, self.share.as_bytes())
    }

    /// Reads what [`ShareToken::encode`] gave; `None` for any other text.
    pub(super) fn decode(text: &str, codes: &MacKey) -> Option<Self> {
        Some(Self { share: Uuid::from_slice(&codes.open(KIND, text)?).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes() -> MacKey {
        MacKey::new(&[3; 32])
    }

    proptest! {
        #[test]
        fn a_token_names_its_link_and_a_changed_one_names_none(share in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            let token = ShareToken { share: Uuid::from_u128(share) };
            let text = token.encode(&codes());
            prop_assert_eq!(text.len(), 43);
            prop_assert_eq!(ShareToken::decode(&text, &codes()), Some(token));
            prop_assert_eq!(ShareToken::decode(&text, &MacKey::new(&[4; 32])), None);
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(ShareToken::decode(&changed, &codes()), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,100}") {
            prop_assert_eq!(ShareToken::decode(&text, &codes()), None);
        }
    }
}

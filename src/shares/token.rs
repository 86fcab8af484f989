//! The token of a link: 16 random bytes that name it, and 16 of a code over them.
//!
//! Computed, not stored: who reads the database alone can't make one, and a made-up one is refused without
//! asking the database. It is longer than any id, so that no log shows it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::secrets::Authenticator;

const CODE_BYTES: usize = 16;
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
    pub(super) fn encode(self, codes: &Authenticator) -> String {
        let mut bytes = self.share.as_bytes().to_vec();
        let message = self.message();
        let code = codes.code(&message);
        bytes.extend(code.as_ref().iter().take(CODE_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`ShareToken::encode`] gave; `None` for any other text.
    pub(super) fn decode(text: &str, codes: &Authenticator) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (share, code) = bytes.split_first_chunk::<16>()?;
        let token = Self { share: Uuid::from_bytes(*share) };
        (code.len() == CODE_BYTES && codes.matches(&token.message(), code)).then_some(token)
    }

    fn message(self) -> Vec<u8> {
        [KIND, self.share.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes() -> Authenticator {
        Authenticator::new(&[3; 32])
    }

    proptest! {
        #[test]
        fn a_token_names_its_link_and_a_changed_one_names_none(share in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            let token = ShareToken { share: Uuid::from_u128(share) };
            let text = token.encode(&codes());
            prop_assert_eq!(text.len(), 43);
            prop_assert_eq!(ShareToken::decode(&text, &codes()), Some(token));
            prop_assert_eq!(ShareToken::decode(&text, &Authenticator::new(&[4; 32])), None);
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

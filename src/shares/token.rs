//! The token of a share link: the link's id of 16 random bytes, and the first 16 bytes of a MAC over the id.
//!
//! Tokens are computed and not stored, so read access to the database is not enough to create a token. An
//! invalid token is rejected without a query. The access log redacts path segments that are longer than an
//! id, and therefore every token.

use uuid::Uuid;

use crate::secrets::MacKey;

/// The prefix that separates share tokens from all other messages under the same MAC key.
const CONTEXT: &[u8] = b"trip share v1";

/// A verified token. Its link may have been revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShareToken {
    /// The id of the link in the database.
    pub(super) id: Uuid,
}

impl ShareToken {
    /// Returns the token as text.
    pub(super) fn encode(self, mac: &MacKey) -> String {
        mac.sign(CONTEXT, self.id.as_bytes())
    }

    /// Verifies and parses the text of a token. Returns `None` if the text is not a valid token.
    pub(super) fn decode(text: &str, mac: &MacKey) -> Option<Self> {
        Some(Self { id: Uuid::from_slice(&mac.open_signed(CONTEXT, text)?).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mac() -> MacKey {
        MacKey::new(&[3; 32])
    }

    proptest! {
        #[test]
        fn a_share_token_decodes_to_its_id_and_a_modified_one_is_rejected(id in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            let token = ShareToken { id: Uuid::from_u128(id) };
            let text = token.encode(&mac());
            prop_assert_eq!(text.len(), 43);
            prop_assert_eq!(ShareToken::decode(&text, &mac()), Some(token));
            prop_assert_eq!(ShareToken::decode(&text, &MacKey::new(&[4; 32])), None);
            let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(modified != text);
            prop_assert_eq!(ShareToken::decode(&modified, &mac()), None);
        }

        #[test]
        fn a_text_that_is_not_a_share_token_is_rejected(text in "\\PC{0,100}") {
            prop_assert_eq!(ShareToken::decode(&text, &mac()), None);
        }
    }
}

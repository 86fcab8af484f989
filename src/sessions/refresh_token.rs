//! Refresh tokens: `v1.<session>.<generation>.<mac>`.
//!
//! The MAC is an HMAC under a key that is derived from the master secret and never stored. A token can't be
//! forged from the database or from another token. The server can compute the same token again without
//! storing it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::secrets::MacKey;

/// The content of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session that the token refreshes.
    pub session: Uuid,
    /// The number of the token within its session, starting at 1.
    pub generation: i64,
}

impl RefreshToken {
    /// Returns the token as text.
    pub fn encode(&self, key: &MacKey) -> String {
        let payload = self.payload();
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(key.tag(payload.as_bytes())))
    }

    /// Parses a token and verifies its MAC. Returns `None` if the text is malformed or the MAC is wrong.
    pub fn decode(text: &str, key: &MacKey) -> Option<Self> {
        let (payload, mac) = text.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok().filter(|mac| mac.len() == 32)?;
        let mut parts = payload.strip_prefix("v1.")?.split('.');
        let session = Uuid::try_parse(parts.next()?).ok()?;
        let generation = parts.next()?.parse().ok()?;
        let token = Self { session, generation };
        (token.payload() == payload && key.verify(payload.as_bytes(), &mac)).then_some(token)
    }

    /// Returns true if the text has the format of a refresh token; the MAC is not verified.
    pub fn looks_like_token(text: &str) -> bool {
        let mut parts = text.split('.');
        parts.next() == Some("v1")
            && parts.next().is_some_and(|session| Uuid::try_parse(session).is_ok())
            && parts.next().is_some_and(|generation| generation.parse::<i64>().is_ok())
            && parts.next().is_some_and(|mac| mac.len() == 43)
            && parts.next().is_none()
    }

    fn payload(&self) -> String {
        format!("v1.{}.{}", self.session.simple(), self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> MacKey {
        MacKey::new(&[byte; 32])
    }

    proptest! {
        #[test]
        fn an_encoded_refresh_token_decodes_only_with_its_own_key(
            session in any::<u128>(),
            generation in 1..i64::MAX,
        ) {
            let token = RefreshToken { session: Uuid::from_u128(session), generation };
            let text = token.encode(&key(1));
            prop_assert_eq!(RefreshToken::decode(&text, &key(1)), Some(token));
            prop_assert_eq!(RefreshToken::decode(&text, &key(2)), None);
        }

        #[test]
        fn a_refresh_token_with_one_changed_character_is_rejected(
            at in any::<prop::sample::Index>(),
            new in "[A-Za-z0-9._-]",
        ) {
            let text = RefreshToken { session: Uuid::from_u128(7), generation: 12 }.encode(&key(1));
            let at = at.index(text.len());
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(RefreshToken::decode(&changed, &key(1)), None);
        }

        #[test]
        fn arbitrary_text_is_rejected_as_a_refresh_token(text in "\\PC{0,200}") {
            prop_assert_eq!(RefreshToken::decode(&text, &key(1)), None);
        }
    }
}

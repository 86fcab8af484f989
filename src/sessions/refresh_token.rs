//! Refresh tokens: `v1.<session>.<generation>.<code>`.
//!
//! The code is an HMAC under a key that is derived from the master secret and stored nowhere, so
//! neither the database alone nor another token yields one, and handing the same one out again needs
//! no memory of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::secrets::MacKey;

/// What a refresh token says: it is the `generation`th of its session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session that it prolongs.
    pub session: Uuid,
    /// Counts its rotations, from 1.
    pub generation: i64,
}

impl RefreshToken {
    /// The token in full.
    pub fn encode(&self, mac: &MacKey) -> String {
        let said = self.payload();
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(mac.code(said.as_bytes())))
    }

    /// Reads a token that we made; `None` for any other text.
    pub fn decode(text: &str, mac: &MacKey) -> Option<Self> {
        let (said, code) = text.rsplit_once('.')?;
        let code = URL_SAFE_NO_PAD.decode(code).ok().filter(|code| code.len() == 32)?;
        let mut parts = said.strip_prefix("v1.")?.split('.');
        let session = Uuid::try_parse(parts.next()?).ok()?;
        let generation = parts.next()?.parse().ok()?;
        let token = Self { session, generation };
        (token.payload() == said && mac.matches(said.as_bytes(), &code)).then_some(token)
    }

    /// Whether a text has the form of one of ours, whoever made it.
    pub fn looks_like_token(text: &str) -> bool {
        let mut parts = text.split('.');
        parts.next() == Some("v1")
            && parts.next().is_some_and(|session| Uuid::try_parse(session).is_ok())
            && parts.next().is_some_and(|generation| generation.parse::<i64>().is_ok())
            && parts.next().is_some_and(|code| code.len() == 43)
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

    fn mac(key: u8) -> MacKey {
        MacKey::new(&[key; 32])
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back_and_only_under_its_key(session in any::<u128>(), generation in 1..i64::MAX) {
            let token = RefreshToken { session: Uuid::from_u128(session), generation };
            let text = token.encode(&mac(1));
            prop_assert_eq!(RefreshToken::decode(&text, &mac(1)), Some(token));
            prop_assert_eq!(RefreshToken::decode(&text, &mac(2)), None);
        }

        #[test]
        fn a_changed_character_makes_another_text_of_it(at in any::<prop::sample::Index>(), new in "[A-Za-z0-9._-]") {
            let text = RefreshToken { session: Uuid::from_u128(7), generation: 12 }.encode(&mac(1));
            let at = at.index(text.len());
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(RefreshToken::decode(&changed, &mac(1)), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,200}") {
            prop_assert_eq!(RefreshToken::decode(&text, &mac(1)), None);
        }
    }
}

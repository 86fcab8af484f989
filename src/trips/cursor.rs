//! Cursors: where a page of the list ended.
//!
//! Opaque and authenticated, and bound to their owner and list: a changed one, another user's and
//! another list's are all the same "bad cursor". They name the last trip seen, not a count, so
//! inserts and deletes neither skip nor repeat what was there throughout.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::from_millis;
use crate::secrets::Authenticator;

/// The list that a cursor is good for.
const LIST: &[u8] = b"trips -created_at v1";
const CODE_BYTES: usize = 16;

/// A place in the list, just after one trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Of that trip.
    pub created_at: DateTime<Utc>,
    /// Of that trip.
    pub id: Uuid,
}

impl Position {
    /// As a cursor for `owner`.
    pub fn encode(&self, owner: Uuid, codes: &Authenticator) -> String {
        let mut bytes = self.created_at.timestamp_millis().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        let message = message(owner, &bytes);
        let code = codes.code(&message);
        bytes.extend(code.as_ref().iter().take(CODE_BYTES));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor that this list gave to `owner`; `None` for any other text.
    pub fn decode(text: &str, owner: Uuid, codes: &Authenticator) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (said, code) = bytes.split_at_checked(24)?;
        if code.len() != CODE_BYTES || !codes.matches(&message(owner, said), code) {
            return None;
        }
        let (created_at, id) = said.split_first_chunk::<8>()?;
        Some(Self {
            created_at: from_millis(i64::from_be_bytes(*created_at)),
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

fn message(owner: Uuid, said: &[u8]) -> Vec<u8> {
    [LIST, owner.as_bytes(), said].concat()
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
        fn a_cursor_is_good_for_its_owner_alone(millis in 0..4_000_000_000_000_i64, id in any::<u128>(), owner in any::<u128>(), other in any::<u128>()) {
            // S-56
            let position = Position { created_at: from_millis(millis), id: Uuid::from_u128(id) };
            let text = position.encode(Uuid::from_u128(owner), &codes());
            prop_assert_eq!(Position::decode(&text, Uuid::from_u128(owner), &codes()), Some(position));
            prop_assume!(owner != other);
            prop_assert_eq!(Position::decode(&text, Uuid::from_u128(other), &codes()), None);
        }

        #[test]
        fn a_changed_cursor_is_none(at in 0..54_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let owner = Uuid::from_u128(1);
            let text = Position { created_at: from_millis(1_700_000_000_000), id: Uuid::from_u128(2) }.encode(owner, &codes());
            prop_assert_eq!(text.len(), 54);
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(Position::decode(&changed, owner, &codes()), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,100}") {
            prop_assert_eq!(Position::decode(&text, Uuid::nil(), &codes()), None);
        }
    }
}

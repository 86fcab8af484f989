//! Cursors of the feed: how far an app has read.
//!
//! Opaque and authenticated, and bound to their owner: a changed one, another user's and a list's are
//! all the same "bad cursor".

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::from_millis;
use crate::secrets::MacKey;

/// What no other text that is authenticated with the same key begins with.
const FEED: &[u8] = b"sync feed v1";

/// A place in an owner's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The last change that was read.
    pub(super) seq: i64,
    /// All that comes behind `seq` and was not there for the app to read happened after this.
    pub(super) since: DateTime<Utc>,
}

impl Position {
    /// As a cursor for `owner`.
    pub(super) fn encode(&self, owner: Uuid, codes: &MacKey) -> String {
        let said = [self.seq, self.since.timestamp_millis()].map(i64::to_be_bytes).concat();
        codes.seal(&context(owner), &said)
    }

    /// Reads a cursor that the feed gave to `owner`; `None` for any other text.
    pub(super) fn decode(text: &str, owner: Uuid, codes: &MacKey) -> Option<Self> {
        let said = codes.open(&context(owner), text)?;
        let (seq, since) = said.split_first_chunk::<8>()?;
        let since = i64::from_be_bytes(since.try_into().ok()?);
        Some(Self { seq: i64::from_be_bytes(*seq), since: from_millis(since) })
    }
}

fn context(owner: Uuid) -> Vec<u8> {
    [FEED, owner.as_bytes()].concat()
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
        fn a_cursor_is_good_for_its_owner_alone(seq in 0..i64::MAX, millis in 0..4_000_000_000_000_i64, owner in any::<u128>(), other in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let position = Position { seq, since: from_millis(millis) };
            let text = position.encode(Uuid::from_u128(owner), &codes());
            prop_assert_eq!(Position::decode(&text, Uuid::from_u128(owner), &codes()), Some(position));
            prop_assume!(owner != other);
            prop_assert_eq!(Position::decode(&text, Uuid::from_u128(other), &codes()), None);
            let changed = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(changed != text);
            prop_assert_eq!(Position::decode(&changed, Uuid::from_u128(owner), &codes()), None);
        }
    }
}

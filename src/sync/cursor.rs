//! Cursors of the feed: the position up to which an app has read.
//!
//! A cursor is opaque, authenticated, and bound to its owner. A modified cursor, another user's and the
//! cursor of a list are all rejected as an invalid cursor.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::from_millis;
use crate::secrets::MacKey;

/// The prefix that separates feed cursors from all other messages under the same MAC key.
const CONTEXT_PREFIX: &[u8] = b"sync feed v1";

/// A position in an owner's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FeedPosition {
    /// The number of the last change that was read.
    pub(super) seq: i64,
    /// The time at which the feed was read: changes that the app could not read yet happened after it.
    pub(super) since: DateTime<Utc>,
}

impl FeedPosition {
    /// Returns this position as a cursor for `owner`.
    pub(super) fn encode(&self, owner: Uuid, mac: &MacKey) -> String {
        let payload = [self.seq, self.since.timestamp_millis()].map(i64::to_be_bytes).concat();
        mac.sign(&context(owner), &payload)
    }

    /// Parses a feed cursor of `owner`; returns `None` for any other text.
    pub(super) fn decode(text: &str, owner: Uuid, mac: &MacKey) -> Option<Self> {
        let payload = mac.open_signed(&context(owner), text)?;
        let (seq, since) = payload.split_first_chunk::<8>()?;
        let since = i64::from_be_bytes(since.try_into().ok()?);
        Some(Self { seq: i64::from_be_bytes(*seq), since: from_millis(since) })
    }
}

fn context(owner: Uuid) -> Vec<u8> {
    [CONTEXT_PREFIX, owner.as_bytes()].concat()
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
        fn a_cursor_is_valid_only_for_its_owner_and_unmodified(seq in 0..i64::MAX, millis in 0..4_000_000_000_000_i64, owner in any::<u128>(), other in any::<u128>(), at in 0..43_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let position = FeedPosition { seq, since: from_millis(millis) };
            let text = position.encode(Uuid::from_u128(owner), &mac());
            prop_assert_eq!(FeedPosition::decode(&text, Uuid::from_u128(owner), &mac()), Some(position));
            prop_assume!(owner != other);
            prop_assert_eq!(FeedPosition::decode(&text, Uuid::from_u128(other), &mac()), None);
            let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(modified != text);
            prop_assert_eq!(FeedPosition::decode(&modified, Uuid::from_u128(owner), &mac()), None);
        }
    }
}

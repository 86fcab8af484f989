//! Cursors of the feed: the position up to which an app has read.
//!
//! A cursor is opaque, authenticated, and bound to its owner. Modified cursors, cursors of other users and
//! cursors of lists are rejected as invalid. A cursor also contains the feed epoch of the database, because
//! the change number in the cursor can refer to another change after a restore from a backup.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::clock::from_millis;
use crate::secrets::MacKey;

/// The prefix that separates feed cursors from all other messages under the same MAC key.
const CONTEXT_PREFIX: &[u8] = b"sync feed v3";
/// The prefix of earlier cursors, which lack `start`.
const STARTLESS_CONTEXT_PREFIX: &[u8] = b"sync feed v2";
/// The prefix of the oldest cursors, which lack `start` and the epoch.
const OLD_CONTEXT_PREFIX: &[u8] = b"sync feed v1";
/// The epoch of a cursor that contains no epoch. No database has this epoch.
pub(super) const NO_EPOCH: i64 = 0;

/// A position in an owner's feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FeedPosition {
    /// The number of the last change that was read.
    pub(super) seq: i64,
    /// The time of the last request that reached the end of the feed. Until a request reaches the end, this
    /// is the time of the first request, which has no cursor. The age of the cursor is counted from this
    /// time.
    pub(super) since: DateTime<Utc>,
    /// The feed epoch in which the number is valid.
    pub(super) epoch: i64,
    /// The owner's change counter at the first request, which has no cursor. The app had not read any trips
    /// before, so the cursor stays valid if the tombstones up to this change number are deleted. Cursors of
    /// earlier versions do not contain this number; it is then 0.
    pub(super) start: i64,
}

impl FeedPosition {
    /// Returns this position as a cursor for `owner`.
    pub(super) fn encode(&self, owner: Uuid, mac: &MacKey) -> String {
        let payload = [self.seq, self.since.timestamp_millis(), self.epoch, self.start];
        let payload = payload.map(i64::to_be_bytes).concat();
        mac.sign(&context(CONTEXT_PREFIX, owner), &payload)
    }

    /// Parses a feed cursor of `owner`; returns `None` for any other text.
    pub(super) fn decode(text: &str, owner: Uuid, mac: &MacKey) -> Option<Self> {
        let current = mac.open_signed(&context(CONTEXT_PREFIX, owner), text);
        let extended = |prefix: &[u8], missing: &[i64]| {
            let mut payload = mac.open_signed(&context(prefix, owner), text)?;
            payload.extend(missing.iter().flat_map(|number| number.to_be_bytes()));
            Some(payload)
        };
        let payload = current
            .or_else(|| extended(STARTLESS_CONTEXT_PREFIX, &[0]))
            .or_else(|| extended(OLD_CONTEXT_PREFIX, &[NO_EPOCH, 0]))?;
        let (numbers, []) = payload.as_chunks::<8>() else { return None };
        let [seq, since, epoch, start] = *<&[[u8; 8]; 4]>::try_from(numbers).ok()?;
        let since = from_millis(i64::from_be_bytes(since));
        let [seq, epoch, start] = [seq, epoch, start].map(i64::from_be_bytes);
        Some(Self { seq, since, epoch, start })
    }
}

fn context(prefix: &[u8], owner: Uuid) -> Vec<u8> {
    [prefix, owner.as_bytes()].concat()
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
        fn a_modified_cursor_and_a_cursor_of_another_user_are_rejected(seq in 0..i64::MAX, epoch in any::<i64>(), millis in 0..4_000_000_000_000_i64, owner in any::<u128>(), other in any::<u128>(), at in 0..54_usize, new in "[A-Za-z0-9_-]") {
            // S-56
            let position = FeedPosition { seq, since: from_millis(millis), epoch, start: 3 };
            let text = position.encode(Uuid::from_u128(owner), &mac());
            prop_assert_eq!(FeedPosition::decode(&text, Uuid::from_u128(owner), &mac()), Some(position));
            prop_assume!(owner != other);
            prop_assert_eq!(FeedPosition::decode(&text, Uuid::from_u128(other), &mac()), None);
            let modified = format!("{}{new}{}", &text[..at], &text[at + 1..]);
            prop_assume!(modified != text);
            prop_assert_eq!(FeedPosition::decode(&modified, Uuid::from_u128(owner), &mac()), None);
        }

        #[test]
        fn a_cursor_of_the_oldest_version_is_accepted_and_has_no_epoch(seq in 0..i64::MAX, millis in 0..4_000_000_000_000_i64) {
            let owner = Uuid::from_u128(7);
            let payload = [seq, millis].map(i64::to_be_bytes).concat();
            let text = mac().sign(&context(OLD_CONTEXT_PREFIX, owner), &payload);
            let expected = FeedPosition { seq, since: from_millis(millis), epoch: NO_EPOCH, start: 0 };
            prop_assert_eq!(FeedPosition::decode(&text, owner, &mac()), Some(expected));
        }
    }
}

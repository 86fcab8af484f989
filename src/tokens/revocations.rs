//! What was revoked before its time, in memory: no query for a request.
//!
//! A revocation names a session, a token or a user, and refuses their tokens that were minted before
//! an instant. Our own take effect when they are committed; those of other replicas are polled for.
//! An entry goes when the last token that it concerns has expired.
//!
//! Rows are numbered when they are written but seen when they are committed, so a poll that asked
//! only for higher numbers would miss a slow transaction. Each poll therefore reads again whatever
//! was new in the last [`OVERLAP`], which is longer than any transaction may take; of very many rows
//! the newest each time, and all of them now and then.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use super::store;
use crate::db::{Db, StoreError};

/// For how long a number that was seen may still have lower ones come after it.
const OVERLAP: Duration = Duration::from_secs(20);
/// Rows that are read at a time, and that are read again by every poll.
const PAGE: u16 = 10_000;
/// One poll of so many reads everything again that is not settled.
const FULL_POLL_EVERY: u32 = 20;
const SHARDS: usize = 16;

/// Tokens that are refused from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// A session, a token or a user.
    pub subject: Uuid,
    /// Only tokens that were minted before are refused; `None` refuses all.
    pub minted_before: Option<DateTime<Utc>>,
    /// When the last of them has expired.
    pub until: DateTime<Utc>,
}

/// The revocations in memory.
#[derive(Debug)]
pub(super) struct Revocations {
    /// Until when all tokens of a subject are refused, in seconds since 1970.
    whole: [RwLock<HashMap<Uuid, u32>>; SHARDS],
    /// Subjects whose later tokens are good.
    partly: RwLock<HashMap<Uuid, Revocation>>,
    /// Raised with each entry: whoever looked at this revision need not look again.
    revision: AtomicU64,
    seen: Mutex<Seen>,
}

/// How far the table was read.
#[derive(Debug, Default)]
struct Seen {
    /// All rows up to here were read, and none can still appear.
    settled: i64,
    /// The highest numbers of the last polls, and when they were seen.
    recent: VecDeque<(Instant, i64)>,
    polls: u32,
}

impl Seen {
    /// Behind which number the next poll begins.
    fn next(&mut self) -> i64 {
        self.polls = self.polls.wrapping_add(1);
        let highest = self.recent.back().map_or(0, |(_, highest)| *highest);
        if self.polls.is_multiple_of(FULL_POLL_EVERY) {
            return self.settled;
        }
        self.settled.max(highest - i64::from(PAGE))
    }

    fn note(&mut self, now: Instant, highest: i64) {
        while let Some((_, number)) =
            self.recent.pop_front_if(|(at, _)| now.saturating_duration_since(*at) > OVERLAP)
        {
            self.settled = number;
        }
        let before = self.recent.back().map_or(0, |(_, number)| *number);
        self.recent.push_back((now, highest.max(before)));
    }
}

impl Revocations {
    pub(super) fn new() -> Self {
        Self {
            whole: std::array::from_fn(|_| RwLock::default()),
            partly: RwLock::default(),
            // Above 0, which stands for a token that was never looked up.
            revision: AtomicU64::new(1),
            seen: Mutex::default(),
        }
    }

    /// Changes when something was revoked.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Whether a token that carries `subject` and was minted at `minted_at` is refused.
    pub(super) fn refuses(&self, subject: Uuid, minted_at: DateTime<Utc>) -> bool {
        let all = self.shard(subject).read().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&subject) {
            return true;
        }
        drop(all);
        let partly = self.partly.read().unwrap_or_else(PoisonError::into_inner);
        let before = partly.get(&subject).and_then(|entry| entry.minted_before);
        before.is_some_and(|before| minted_at < before)
    }

    /// From now on.
    pub(super) fn apply(&self, new: &Revocation) {
        let until = u32::try_from(new.until.timestamp()).unwrap_or(u32::MAX);
        let is_news = if new.minted_before.is_none() {
            let mut all = self.shard(new.subject).write().unwrap_or_else(PoisonError::into_inner);
            let entry = all.entry(new.subject).or_default();
            let is_news = *entry < until;
            *entry = until.max(*entry);
            is_news
        } else {
            let mut partly = self.partly.write().unwrap_or_else(PoisonError::into_inner);
            let entry = partly.entry(new.subject).or_insert(Revocation { minted_before: None, ..*new });
            let is_news = entry.minted_before < new.minted_before;
            entry.minted_before = entry.minted_before.max(new.minted_before);
            entry.until = entry.until.max(new.until);
            is_news
        };
        if is_news {
            self.revision.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Drops what concerns only tokens that have expired.
    pub(super) fn forget_before(&self, now: DateTime<Utc>) {
        let seconds = u32::try_from(now.timestamp()).unwrap_or(0);
        for shard in &self.whole {
            let mut all = shard.write().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, until| *until >= seconds);
            // What a storm of revocations took is given back.
            if all.capacity() > 4 * all.len() {
                all.shrink_to_fit();
            }
        }
        let mut partly = self.partly.write().unwrap_or_else(PoisonError::into_inner);
        partly.retain(|_, entry| entry.until >= now);
    }

    /// Reads what others revoked. Two polls at once are harmless.
    pub(super) async fn poll(&self, db: &Db) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut at = self.seen.lock().unwrap_or_else(PoisonError::into_inner).next();
        loop {
            let page: Vec<(i64, Revocation)> =
                db.read(at, |tx, at| store::revocations_after(tx, *at, PAGE).boxed()).await?;
            for (_, revocation) in &page {
                self.apply(revocation);
            }
            let Some((last, _)) = page.last() else {
                break;
            };
            at = *last;
            if page.len() < usize::from(PAGE) {
                break;
            }
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).note(began, at);
        Ok(())
    }

    fn shard(&self, subject: Uuid) -> &RwLock<HashMap<Uuid, u32>> {
        // The last byte of a UUIDv7 is random.
        let at = usize::from(*subject.as_bytes().last().unwrap_or(&0)) % SHARDS;
        self.whole.get(at).unwrap_or(&self.whole[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_millis;

    fn all_of(subject: u128, until: i64) -> Revocation {
        Revocation { subject: Uuid::from_u128(subject), minted_before: None, until: from_millis(until) }
    }

    #[test]
    fn a_whole_revocation_refuses_every_token_until_it_is_forgotten() {
        let revoked = Revocations::new();
        let before = revoked.revision();
        revoked.apply(&all_of(1, 60_000));
        assert_ne!(revoked.revision(), before);
        assert!(revoked.refuses(Uuid::from_u128(1), from_millis(99)));
        assert!(!revoked.refuses(Uuid::from_u128(2), from_millis(99)));
        revoked.forget_before(from_millis(60_000));
        assert!(revoked.refuses(Uuid::from_u128(1), from_millis(99)), "its last token may be good still");
        revoked.forget_before(from_millis(61_000));
        assert!(!revoked.refuses(Uuid::from_u128(1), from_millis(99)));
    }

    #[test]
    fn a_revocation_of_a_user_spares_what_was_minted_afterwards() {
        let revoked = Revocations::new();
        let user = Uuid::from_u128(3);
        let at = |millis| Revocation {
            subject: user,
            minted_before: Some(from_millis(millis)),
            until: from_millis(90_000),
        };
        revoked.apply(&at(1_000));
        revoked.apply(&at(500));
        assert!(revoked.refuses(user, from_millis(999)));
        assert!(!revoked.refuses(user, from_millis(1_000)));
    }

    #[test]
    fn what_is_known_already_is_no_news() {
        let revoked = Revocations::new();
        revoked.apply(&all_of(1, 60_000));
        let revision = revoked.revision();
        revoked.apply(&all_of(1, 60_000));
        revoked.apply(&all_of(1, 30_000));
        assert_eq!(revoked.revision(), revision);
    }

    #[test]
    fn a_number_is_settled_only_when_no_lower_one_can_still_come() {
        let start = Instant::now();
        let mut seen = Seen::default();
        seen.note(start, 7);
        seen.note(start + Duration::from_secs(19), 9);
        assert_eq!(seen.settled, 0);
        seen.note(start + Duration::from_secs(21), 9);
        assert_eq!(seen.settled, 7);
        seen.note(start + Duration::from_mins(1), 12);
        assert_eq!(seen.settled, 9);
    }

    #[test]
    fn very_many_rows_are_not_all_read_by_every_poll() {
        let mut seen = Seen::default();
        assert_eq!(seen.next(), 0);
        seen.note(Instant::now(), 1_000_000);
        assert_eq!(seen.next(), 990_000);
        let again: Vec<i64> = (0..FULL_POLL_EVERY).map(|_| seen.next()).collect();
        assert!(again.contains(&0), "all of them now and then");
    }
}

//! The in-memory set of revocations, so that a request needs no query.
//!
//! A revocation has a subject: a session, a token or a user. The server rejects all tokens of the subject,
//! or only those that were minted before a given time. A revocation by this replica takes effect at its
//! commit. Revocations by other replicas are polled. An entry is removed long after its last token has
//! expired.
//!
//! A row gets its number at the insert but becomes visible at the commit. A poll that reads only the rows
//! above the last number would therefore miss rows of a slow transaction. Each poll reads again all rows that
//! were new within the last [`OVERLAP`], which is longer than the maximum duration of a transaction. If there
//! are more than [`PAGE`] such rows, each poll reads only the newest rows, and one poll in
//! [`FULL_POLL_EVERY`] reads all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use uuid::{Builder, Uuid};

use super::{MAX_TTL, NumberedRevocation, store};
use crate::clock::Clock;
use crate::db::{Db, StoreError};
use crate::secrets::sha256;

/// The maximum time that can pass after a row was read until a row with a lower number becomes visible.
const OVERLAP: Duration = Duration::from_secs(20);
/// The maximum number of rows in one query, and of rows that every poll reads again.
pub(super) const PAGE: u16 = 10_000;
/// The interval, in polls, at which a poll reads again all rows that are not settled.
const FULL_POLL_EVERY: u32 = 20;
const SHARDS: usize = 16;

/// Rejects tokens before they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The id of a session or a token, or a digest of the id of a user.
    pub subject: Uuid,
    /// Rejects only tokens that were minted before this time. `None` rejects all tokens.
    pub minted_before: Option<DateTime<Utc>>,
    /// When the last rejected token expires.
    pub until: DateTime<Utc>,
}

/// Returns the subject of all credentials of a user.
pub(super) fn subject_of_user(user: Uuid) -> Uuid {
    digest(b"tripgate tokens of a user v1", user)
}

/// Returns the subject of the access tokens of a user that have no session.
pub(super) fn subject_without_session(user: Uuid) -> Uuid {
    digest(b"tripgate tokens without a session v1", user)
}

/// Returns a digest of a user's id. A revocation is stored for longer than a deleted account, and must not
/// contain the id of the user. The digest never equals the id of a session or a user, because these ids are
/// UUIDs of version 7 and the digest is not.
fn digest(context: &[u8], user: Uuid) -> Uuid {
    let digest = sha256(&[context, user.as_bytes()].concat());
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Returns the revocation of all credentials of a user, or of the credentials that were minted before the
/// given time.
pub fn of_user(user: Uuid, minted_before: Option<DateTime<Utc>>, until: DateTime<Utc>) -> Revocation {
    Revocation { subject: subject_of_user(user), minted_before, until }
}

/// Returns the time until which a revocation that is stored now is needed. The time does not depend on the
/// settings of this server: access tokens may have been minted with a longer configured lifetime, or by a
/// server with a different clock.
pub fn revoked_until(clock: &Clock) -> DateTime<Utc> {
    clock.now().max(clock.shared_now()) + MAX_TTL
}

/// Returns the revocation of the user's access tokens without a session that were minted before `now`.
pub fn without_session(user: Uuid, now: DateTime<Utc>) -> Revocation {
    let until = now + MAX_TTL;
    Revocation { subject: subject_without_session(user), minted_before: Some(now), until }
}

/// The set of revocations.
#[derive(Debug)]
pub(super) struct Revocations {
    /// The time until which all tokens of a subject are rejected, in Unix seconds.
    all_tokens: [RwLock<HashMap<Uuid, u32>>; SHARDS],
    /// The revocations, by subject, that reject only the tokens that were minted before a given time.
    older_tokens: RwLock<HashMap<Uuid, Revocation>>,
    /// Incremented with each new entry. A token that was checked at this revision needs no further check.
    revision: AtomicU64,
    position: Mutex<PollPosition>,
}

/// Where and when a poll begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollStart {
    started_at: Instant,
    /// The poll reads the rows with numbers above this number.
    pub(super) seq: i64,
}

/// The position of the polls in the table.
#[derive(Debug, Default)]
struct PollPosition {
    /// All rows up to this number were read, and no further row with a number up to this one can appear.
    settled: i64,
    /// The highest row numbers that the last polls read, with the start times of the polls.
    recent: VecDeque<(Instant, i64)>,
    polls: u32,
}

impl PollPosition {
    /// Returns the number after which the next poll starts.
    fn next_start(&mut self) -> i64 {
        self.polls = self.polls.wrapping_add(1);
        let highest = self.recent.back().map_or(0, |(_, highest)| *highest);
        if self.polls.is_multiple_of(FULL_POLL_EVERY) {
            return self.settled;
        }
        self.settled.max(highest - i64::from(PAGE))
    }

    /// Records the highest row number that a poll has read, and when the poll started. The row numbers of
    /// polls that started more than [`OVERLAP`] earlier become settled.
    fn record(&mut self, now: Instant, highest: i64) {
        while let Some((_, number)) =
            self.recent.pop_front_if(|(at, _)| now.saturating_duration_since(*at) > OVERLAP)
        {
            self.settled = number;
        }
        let previous = self.recent.back().map_or(0, |(_, number)| *number);
        self.recent.push_back((now, highest.max(previous)));
    }
}

impl Revocations {
    pub(super) fn new() -> Self {
        Self {
            all_tokens: std::array::from_fn(|_| RwLock::default()),
            older_tokens: RwLock::default(),
            // 0 is the revision of a token that was never checked.
            revision: AtomicU64::new(1),
            position: Mutex::default(),
        }
    }

    /// Returns the revision, which changes with each new entry.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Returns true if a token of `subject` that was minted at `minted_at` is rejected.
    pub(super) fn rejects(&self, subject: Uuid, minted_at: DateTime<Utc>) -> bool {
        let all = self.shard(subject).read().unwrap_or_else(PoisonError::into_inner);
        if all.contains_key(&subject) {
            return true;
        }
        drop(all);
        let older = self.older_tokens.read().unwrap_or_else(PoisonError::into_inner);
        let before = older.get(&subject).and_then(|entry| entry.minted_before);
        before.is_some_and(|before| minted_at < before)
    }

    /// Adds a revocation, with immediate effect.
    pub(super) fn apply(&self, new: &Revocation) {
        let until = u32::try_from(new.until.timestamp()).unwrap_or(u32::MAX);
        let is_new = if new.minted_before.is_none() {
            let mut all = self.shard(new.subject).write().unwrap_or_else(PoisonError::into_inner);
            let entry = all.entry(new.subject).or_default();
            let is_new = *entry < until;
            *entry = until.max(*entry);
            is_new
        } else {
            let mut older = self.older_tokens.write().unwrap_or_else(PoisonError::into_inner);
            let entry = older.entry(new.subject).or_insert(Revocation { minted_before: None, ..*new });
            let is_new = entry.minted_before < new.minted_before;
            entry.minted_before = entry.minted_before.max(new.minted_before);
            entry.until = entry.until.max(new.until);
            is_new
        };
        if is_new {
            self.revision.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Removes entries of tokens that expired before `now`.
    pub(super) fn prune(&self, now: DateTime<Utc>) {
        let seconds = u32::try_from(now.timestamp()).unwrap_or(0);
        for shard in &self.all_tokens {
            let mut all = shard.write().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, until| *until >= seconds);
            // Free the memory after a burst of revocations.
            if all.capacity() > 4 * all.len() {
                all.shrink_to_fit();
            }
        }
        let mut older = self.older_tokens.write().unwrap_or_else(PoisonError::into_inner);
        older.retain(|_, entry| entry.until >= now);
    }

    /// Returns the number after which revocations are possibly not in memory yet. Up to this number, a
    /// revocation can be missing only if it became visible late: after a revocation with a number at least
    /// [`PAGE`] higher was read.
    pub(super) fn unsettled_after(&self) -> i64 {
        let position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = position.recent.back().map_or(0, |(_, highest)| *highest);
        position.settled.max(highest - i64::from(PAGE))
    }

    /// Makes the next poll read all revocations, because the database was replaced by an older copy.
    pub(super) fn restart_polls(&self) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = PollPosition::default();
    }

    /// Begins a poll. Call this function before the first statement of the poll.
    pub(super) fn begin_poll(&self) -> PollStart {
        let started_at = Instant::now();
        let seq = self.position.lock().unwrap_or_else(PoisonError::into_inner).next_start();
        PollStart { started_at, seq }
    }

    /// Applies the revocations with numbers above the start of the poll. `first` contains the first [`PAGE`]
    /// of these revocations if they were read already. Reads the remaining pages. Concurrent polls are safe.
    pub(super) async fn finish_poll(
        &self,
        db: &Db,
        start: PollStart,
        mut first: Option<Vec<NumberedRevocation>>,
    ) -> Result<(), StoreError> {
        let PollStart { started_at, seq: mut highest } = start;
        loop {
            let page = match first.take() {
                Some(page) => page,
                None => db.read(highest, |tx, at| store::revocations_after(tx, *at, PAGE).boxed()).await?,
            };
            for (seq, revocation) in &page {
                self.apply(revocation);
                highest = highest.max(*seq);
            }
            if page.len() < usize::from(PAGE) {
                break;
            }
        }
        self.position.lock().unwrap_or_else(PoisonError::into_inner).record(started_at, highest);
        Ok(())
    }

    fn shard(&self, subject: Uuid) -> &RwLock<HashMap<Uuid, u32>> {
        // The last byte of a UUIDv7 is random.
        let at = usize::from(*subject.as_bytes().last().unwrap_or(&0)) % SHARDS;
        self.all_tokens.get(at).unwrap_or(&self.all_tokens[0])
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
    fn the_revocation_of_a_user_rejects_the_tokens_of_the_user_until_the_revocation_is_pruned() {
        let revoked = Revocations::new();
        let before = revoked.revision();
        revoked.apply(&all_of(1, 60_000));
        assert_ne!(revoked.revision(), before);
        assert!(revoked.rejects(Uuid::from_u128(1), from_millis(99)));
        assert!(!revoked.rejects(Uuid::from_u128(2), from_millis(99)));
        revoked.prune(from_millis(60_000));
        assert!(
            revoked.rejects(Uuid::from_u128(1), from_millis(99)),
            "the entry must remain while its last token can be valid"
        );
        revoked.prune(from_millis(61_000));
        assert!(!revoked.rejects(Uuid::from_u128(1), from_millis(99)));
    }

    #[test]
    fn tokens_issued_after_the_revocation_of_a_user_are_accepted() {
        let revoked = Revocations::new();
        let user = Uuid::from_u128(3);
        let at = |millis| Revocation {
            subject: user,
            minted_before: Some(from_millis(millis)),
            until: from_millis(90_000),
        };
        revoked.apply(&at(1_000));
        revoked.apply(&at(500));
        assert!(revoked.rejects(user, from_millis(999)));
        assert!(!revoked.rejects(user, from_millis(1_000)));
    }

    #[test]
    fn applying_a_revocation_again_does_not_change_the_revision() {
        let revoked = Revocations::new();
        revoked.apply(&all_of(1, 60_000));
        let revision = revoked.revision();
        revoked.apply(&all_of(1, 60_000));
        revoked.apply(&all_of(1, 30_000));
        assert_eq!(revoked.revision(), revision);
    }

    #[test]
    fn a_revocation_number_is_settled_only_when_no_lower_number_can_appear() {
        let start = Instant::now();
        let mut position = PollPosition::default();
        position.record(start, 7);
        position.record(start + Duration::from_secs(19), 9);
        assert_eq!(position.settled, 0);
        position.record(start + Duration::from_secs(21), 9);
        assert_eq!(position.settled, 7);
        position.record(start + Duration::from_mins(1), 12);
        assert_eq!(position.settled, 9);
    }

    #[test]
    fn most_polls_read_only_the_newest_of_very_many_revocations() {
        let mut position = PollPosition::default();
        assert_eq!(position.next_start(), 0);
        position.record(Instant::now(), 1_000_000);
        assert_eq!(position.next_start(), 990_000);
        let starts: Vec<i64> = (0..FULL_POLL_EVERY).map(|_| position.next_start()).collect();
        assert!(starts.contains(&0), "one of these polls must read all rows");
    }
}

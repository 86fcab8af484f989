//! A bounded cache of rendered pages, for users who read the same list again.
//!
//! Invariants:
//!
//! - A page is returned only if the owner's change counter, read after the request arrived, still has the
//!   value at which the page was read. Every write to an owner's trips raises the counter in the same
//!   transaction. A cached page is therefore never older than what the caller has seen, even if another
//!   replica served the earlier writes and reads.
//! - The first statement of a page returns the counter with its rows. A page of several statements can
//!   contain rows that are newer than its counter, if a write came in between. Such a page is stored, but
//!   never returned: that write has raised the counter above the value of the page.
//! - A failover to a database server that lacks the last writes sets counters back, and later writes assign
//!   the same values again. A page is therefore returned only if this server has opened no new connection
//!   since the read of the page began. Pages also expire, for databases behind a pooler, whose connections
//!   survive a failover.
//! - The key of a page contains its owner, and a MAC over everything that the page depends on besides the
//!   owner's trips.
//! - A page that is read once is not stored. The sum of the stored bytes is limited. Pages that are seldom
//!   returned do not replace pages that are often returned, even if many different pages are read.
//!
//! Pages of searches are not cached: a search text is seldom repeated, and each typed letter is a new search.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use uuid::Uuid;

use crate::metrics::{self, PageLookup};

/// The age at which a page expires.
const MAX_AGE: Duration = Duration::from_mins(1);
/// The memory that an entry takes besides the text of its page, in bytes.
const ENTRY_BYTES: u64 = 400;
/// The typical size of a page, in bytes. Determines for how many pages a first read is remembered.
const TYPICAL_BYTES: u64 = 4096;
/// The maximum part of the cache that one page can take.
const MAX_PART: u64 = 10;
/// The number of parts of the cache that are locked separately.
const SHARDS: usize = 4;

/// Identifies a page of an owner's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) owner: Uuid,
    /// A MAC over everything that identifies the page. Clients can't predict it.
    pub(super) mac: [u8; 32],
}

impl PageKey {
    /// Returns a part of the MAC, as a number.
    pub(super) fn mac_word<const AT: usize>(&self) -> u64 {
        let word = self.mac.iter().skip(AT * 8).take(8);
        word.fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

/// A time, and the number of database connections that this server had opened by then. A connection that is
/// opened later can lead to a different database server, after a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The time by the monotonic clock.
    pub(super) time: Duration,
    /// The number of connections that were [opened](crate::db::Db::opened_connections) to the database so far.
    pub(super) connections: u64,
}

/// A page as JSON.
#[derive(Debug)]
pub(super) struct CachedPage {
    /// The owner's change counter when the page was read.
    changes: i64,
    json: Bytes,
    next: Option<String>,
    /// The moment before the page was read.
    read_at: Moment,
    /// Whether the page was returned from the cache.
    is_used: AtomicBool,
}

impl CachedPage {
    /// Creates a page that was read at this value of the owner's change counter. Copies `json` if its
    /// capacity exceeds its length, because the cache counts only the length.
    pub(super) fn new(changes: i64, json: Vec<u8>, next: Option<String>, read_at: Moment) -> Self {
        let json = Bytes::from(json.into_boxed_slice());
        Self { changes, json, next, read_at, is_used: AtomicBool::new(false) }
    }

    /// Returns the JSON of this page, and the cursor of the next page.
    pub(super) fn content(&self) -> (Bytes, Option<String>) {
        (self.json.clone(), self.next.clone())
    }

    fn len(&self) -> u64 {
        let len = self.json.len() + self.next.as_ref().map_or(0, String::len);
        u64::try_from(len).unwrap_or(u64::MAX).saturating_add(ENTRY_BYTES)
    }
}

#[derive(Debug, Clone)]
struct ByLen;

impl Weighter<PageKey, Arc<CachedPage>> for ByLen {
    fn weight(&self, _: &PageKey, page: &Arc<CachedPage>) -> u64 {
        page.len()
    }
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub(super) struct PageCache(Option<Arc<Inner>>);

struct Inner {
    pages: Cache<PageKey, Arc<CachedPage>, ByLen>,
    read_once: ReadOnce,
    max_page_bytes: usize,
}

impl fmt::Debug for PageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl PageCache {
    /// Creates a cache of at most `max_bytes`. With 0, it stores nothing.
    pub(super) fn new(max_bytes: u64) -> Self {
        let read_once = ReadOnce::new(max_bytes / TYPICAL_BYTES);
        let max_bytes = max_bytes.saturating_sub(read_once.bytes());
        let typical_pages = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options.weight_capacity(max_bytes).estimated_items_capacity(typical_pages).shards(SHARDS);
        let options = options.build().ok().filter(|_| max_bytes > 0);
        Self(options.map(|options| {
            let hasher = DefaultHashBuilder::default();
            let pages = Cache::with_options(options, ByLen, hasher, DefaultLifecycle::default());
            let max_page_bytes = usize::try_from(max_bytes / MAX_PART).unwrap_or(usize::MAX);
            Arc::new(Inner { pages, read_once, max_page_bytes })
        }))
    }

    /// Returns whether the cache stores pages.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the size of all stored pages.
    pub(super) fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.pages.weight())
    }

    /// Returns the stored page, which is possibly outdated.
    pub(super) fn find(&self, key: &PageKey, now: Moment) -> Option<Arc<CachedPage>> {
        let inner = self.0.as_ref()?;
        let found = inner.pages.get(key).filter(|page| {
            let Moment { time, connections } = page.read_at;
            now.time.saturating_sub(time) < MAX_AGE && now.connections == connections
        });
        if found.is_none() {
            metrics::page_looked_up(PageLookup::Miss);
        }
        found
    }

    /// Returns whether `page` is current. `changes` is the owner's change counter, and `connections` is the
    /// number of opened connections after the counter was read. If an outdated page was never returned from
    /// the cache, the owner changes trips more often than they read the list. The page is then removed, so
    /// that the next request for it reads the page without reading the counter first.
    pub(super) fn is_current(
        &self,
        key: &PageKey,
        page: &CachedPage,
        changes: i64,
        connections: u64,
    ) -> bool {
        let is_current = page.changes == changes && page.read_at.connections == connections;
        if is_current {
            page.is_used.store(true, Ordering::Relaxed);
        } else if !page.is_used.load(Ordering::Relaxed)
            && let Some(inner) = &self.0
        {
            inner.pages.remove_if(key, |stored| stored.changes == page.changes);
        }
        metrics::page_looked_up(if is_current { PageLookup::Hit } else { PageLookup::Outdated });
        is_current
    }

    /// Returns whether to store a page that was just read. Its text must take at most a tenth of the cache. In
    /// addition, an earlier state of the page must be stored, or a recent earlier read of the page must be
    /// remembered. If the text is small enough but no earlier read is known, remembers this read.
    pub(super) fn should_store(&self, key: &PageKey, bytes: usize) -> bool {
        self.0.as_ref().is_some_and(|inner| {
            bytes <= inner.max_page_bytes && (inner.pages.contains_key(key) || inner.read_once.repeats(key))
        })
    }

    /// Stores a page.
    pub(super) fn store(&self, key: PageKey, page: CachedPage) {
        if let Some(inner) = &self.0 {
            inner.pages.insert(key, Arc::new(page));
        }
    }
}

/// Remembers pages that were read once: a table that forgets a page when another page takes its place.
struct ReadOnce(Box<[AtomicU64]>);

impl ReadOnce {
    /// Creates a table with `pages` slots, but with at least 64 and at most 65,536 slots.
    fn new(pages: u64) -> Self {
        let slots = pages.clamp(64, 65_536);
        Self((0..slots).map(|_| AtomicU64::new(0)).collect())
    }

    fn bytes(&self) -> u64 {
        u64::try_from(size_of_val(&*self.0)).unwrap_or(u64::MAX)
    }

    /// Returns whether this page is remembered. If it is, forgets it; otherwise, remembers it instead of the
    /// page in the same slot.
    fn repeats(&self, key: &PageKey) -> bool {
        let slots = self.0.len();
        let at = u64::try_from(slots).map_or(0, |slots| key.mac_word::<1>() % slots);
        let Some(slot) = usize::try_from(at).ok().and_then(|at| self.0.get(at)) else { return false };
        // 0 marks an empty slot.
        let page = key.mac_word::<2>().max(1);
        let repeats = slot.load(Ordering::Relaxed) == page;
        slot.store(if repeats { 0 } else { page }, Ordering::Relaxed);
        repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: u8 = 1;
    const EVE: u8 = 2;
    const PAGE_BYTES: usize = 6_000;
    const START: Moment = Moment { time: Duration::ZERO, connections: 1 };

    fn key(owner: u8, page: u64) -> PageKey {
        let mac = crate::secrets::sha256(&page.to_be_bytes());
        PageKey { owner: Uuid::from_u128(owner.into()), mac }
    }

    fn page(changes: i64, bytes: usize) -> CachedPage {
        CachedPage::new(changes, vec![b' '; bytes], None, START)
    }

    /// Simulates a request for a page while the owner's change counter has the value `changes`. Returns
    /// whether the page came from the cache.
    fn request(cache: &PageCache, key: PageKey, changes: i64) -> bool {
        if let Some(found) = cache.find(&key, START)
            && cache.is_current(&key, &found, changes, 1)
        {
            return true;
        }
        read(cache, key, changes, PAGE_BYTES);
        false
    }

    /// Simulates the end of a request that has read a page.
    fn read(cache: &PageCache, key: PageKey, changes: i64, bytes: usize) {
        if cache.should_store(&key, bytes) {
            cache.store(key, page(changes, bytes));
        }
    }

    #[test]
    fn a_page_is_stored_when_it_is_read_the_second_time() {
        let cache = PageCache::new(1 << 20);
        let [first, second, third] = [(); 3].map(|()| request(&cache, key(ADA, 1), 1));
        assert_eq!([first, second, third], [false, false, true]);
        assert!(!request(&cache, key(EVE, 1), 1), "another owner has other pages");
        assert_eq!(cache.bytes(), u64::try_from(PAGE_BYTES).unwrap() + ENTRY_BYTES);
    }

    #[test]
    fn a_page_is_returned_for_a_minute_while_the_change_counter_and_the_connections_stay_the_same() {
        let cache = PageCache::new(1 << 20);
        let key = key(ADA, 1);
        cache.store(key, page(7, PAGE_BYTES));
        let stored = cache.find(&key, START).unwrap();
        // A page that was returned before stays when it is outdated.
        for (changes, connections, expected) in [(7, 1, true), (6, 1, false), (8, 1, false), (7, 2, false)] {
            assert_eq!(cache.is_current(&key, &stored, changes, connections), expected);
        }
        let last = Moment { time: Duration::from_millis(59_999), ..START };
        assert!(cache.find(&key, last).is_some());
        assert!(cache.find(&key, Moment { time: MAX_AGE, ..START }).is_none());
        assert!(cache.find(&key, Moment { connections: 2, ..START }).is_none());
    }

    #[test]
    fn a_page_that_changes_before_each_read_causes_at_most_one_counter_query_in_two_reads() {
        let cache = PageCache::new(1 << 20);
        let key = key(ADA, 1);
        let mut outdated = 0;
        for changes in 0..300 {
            outdated += u32::from(cache.find(&key, START).is_some());
            assert!(!request(&cache, key, changes));
        }
        assert!(outdated <= 150, "{outdated}");
        // When the page is read several times between two writes, only the first read after a write finds no
        // current page. In the first round, further reads find no page until the page is stored again.
        for changes in 300..400 {
            let hits = (0..4).filter(|_| request(&cache, key, changes)).count();
            assert!(hits >= if changes == 300 { 1 } else { 3 }, "{changes}: {hits}");
        }
    }

    #[test]
    fn many_different_pages_neither_exceed_the_limit_nor_remove_the_page_of_a_busy_user() {
        const MAX: u64 = 4 << 20;
        let cache = PageCache::new(MAX);
        for _ in 0..3 {
            request(&cache, key(ADA, 0), 1);
        }
        let (mut missed, mut max) = (0, 0);
        for number in 1..=250_000 {
            // Each page of the first half is requested once, each page of the second half three times in a
            // row. Only the pages of the second half are stored.
            let times = if number <= 125_000 { 2 } else { 6 };
            for _ in 0..times / 2 {
                request(&cache, key(EVE, number), 1);
            }
            if number % 100 == 0 {
                missed += u32::from(!request(&cache, key(ADA, 0), 1));
                max = max.max(cache.bytes());
            }
        }
        assert_eq!(missed, 0);
        assert!((MAX / 2..=MAX).contains(&max), "{max}");
    }

    #[test]
    fn a_page_that_would_take_more_than_a_tenth_of_the_cache_is_not_stored() {
        let cache = PageCache::new(1 << 20);
        for (bytes, is_stored) in [(105_000, false), (104_000, true)] {
            for _ in 0..3 {
                read(&cache, key(ADA, 1), 1, bytes);
            }
            assert_eq!(cache.find(&key(ADA, 1), START).is_some(), is_stored, "{bytes}");
        }
    }

    #[test]
    fn a_cache_of_size_zero_stores_nothing() {
        for max_bytes in [0, 1, 500] {
            let cache = PageCache::new(max_bytes);
            assert!(!(0..4).any(|_| request(&cache, key(ADA, 1), 1)));
            assert_eq!((cache.is_on(), cache.bytes()), (false, 0));
        }
    }
}

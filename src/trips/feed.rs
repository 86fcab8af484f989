//! The feed of changes to an owner's trips, for apps that sync.
//!
//! Each change increments the owner's counter and stores the new value, the change number, with the trip or
//! its tombstone. The transaction locks the counter's row from the increment to the commit. When a reader
//! sees a value of the counter, all changes up to this value are therefore committed, and later commits have
//! higher numbers. The feed misses no change.

use chrono::TimeDelta;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{Change, PAGE_BYTES, Trip, Trips, store};
use crate::db::{StoreError, Tx};

/// The maximum number of tombstones that one transaction deletes.
const SWEEP_BATCH: u64 = 200;

/// The number of trips that one query reads. It is limited, because a trip can be large.
const CHUNK: usize = 50;

/// The part of the feed to read.
#[derive(Debug, Clone, Copy)]
pub struct FeedQuery {
    /// The change number after which to start.
    pub after: i64,
    /// The maximum number of changes.
    pub limit: u16,
}

/// A page of the feed.
#[derive(Debug)]
pub struct Feed {
    /// The changes, by ascending change number.
    pub changes: Vec<Change>,
    /// The owner's counter at the time of reading. All changes up to this number were committed.
    pub counter: i64,
    /// The number of the last change whose tombstone was deleted because the owner had too many tombstones; 0
    /// if no tombstone was deleted for this reason.
    pub trimmed_until: i64,
    /// The feed epoch of the database, in which the change numbers are valid.
    pub epoch: i64,
    /// Whether more changes exist. If false, an app that has read all pages has the owner's trips as they were
    /// when this page was read.
    pub has_more: bool,
}

impl Trips {
    /// Returns the changes to the owner's trips, in order. Each trip occurs once, at its last change.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn feed(&self, owner: Uuid, query: FeedQuery) -> Result<Feed, StoreError> {
        if let Some(feed) = self.db.read((owner, query), read_page).await? {
            return Ok(feed);
        }
        // Trips of the owner changed between two statements. Read again in a snapshot, which is always
        // consistent but costs more round trips to a database server.
        let feed = self.db.read_snapshot((owner, query), read_page).await?;
        feed.ok_or_else(|| StoreError::internal("a snapshot returned two states of the change feed"))
    }

    /// Deletes the tombstones that are older than `age`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self, age: TimeDelta) -> Result<(), StoreError> {
        let before = self.clock.trusted_now() - age;
        self.db.sweep(before, SWEEP_BATCH, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await
    }
}

fn read_page<'a>(
    tx: &'a Tx,
    (owner, query): &'a (Uuid, FeedQuery),
) -> BoxFuture<'a, Result<Option<Feed>, StoreError>> {
    feed(tx, *owner, *query).boxed()
}

/// Reads a page. Returns `None` if the owner's trips changed between two of the statements, so that a page
/// never mixes two states of the database.
async fn feed(tx: &Tx, owner: Uuid, query: FeedQuery) -> Result<Option<Feed>, StoreError> {
    let state = store::feed_state(tx, owner).await?;
    let (epoch, counter, trimmed_until) = state;
    let limit = usize::from(query.limit);
    let (mut changes, until) = changed(tx, owner, query.after, counter, limit + 1).await?;
    changes.extend(store::deleted(tx, owner, query.after, until, limit + 1).await?);
    changes.sort_unstable_by_key(|change| change.seq);
    // If a trip changes between the statements, its new change number is higher than `counter`. This page
    // would then omit the trip, although the trip existed before the request.
    if store::feed_state(tx, owner).await? != state {
        return Ok(None);
    }
    let has_more = changes.len() > limit || until < counter;
    changes.truncate(limit);
    Ok(Some(Feed { changes, counter, trimmed_until, epoch, has_more }))
}

/// Returns up to `limit` trips that were created or changed after the change number `after`, and a change
/// number. If there are fewer than `limit` trips, the list is complete up to this number. The number is
/// that of the last trip if the trips exceed [`PAGE_BYTES`], and `counter` otherwise.
async fn changed(
    tx: &Tx,
    owner: Uuid,
    mut after: i64,
    counter: i64,
    limit: usize,
) -> Result<(Vec<Change>, i64), StoreError> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while changes.len() < limit {
        let take = CHUNK.min(limit - changes.len());
        let chunk = store::changed(tx, owner, after, counter, take).await?;
        let is_last = chunk.len() < take;
        after = chunk.last().map_or(after, |change| change.seq);
        bytes += chunk.iter().filter_map(|change| change.trip.as_ref()).map(Trip::json_len).sum::<usize>();
        changes.extend(chunk);
        if is_last {
            break;
        }
        if bytes >= PAGE_BYTES {
            return Ok((changes, after));
        }
    }
    Ok((changes, counter))
}

//! What an app that was offline needs: the feed of changes.
//!
//! Each change is counted, and leaves its number with the trip or its tombstone. The row of
//! the counter is locked from there to the commit, so that whoever reads the counter has before them
//! all changes up to it and none that is under way: that is why the feed misses nothing.

use chrono::TimeDelta;
use futures_util::FutureExt;
use uuid::Uuid;

use super::{PAGE_BYTES, Trip, Trips, store};
use crate::db::{StoreError, Tx};

/// How many tombstones are deleted in one transaction.
const SWEEP_BATCH: u64 = 200;

/// How many trips are read at a time, because each may be large.
const CHUNK: usize = 50;

/// What became of a trip.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its place in the order of the owner's changes.
    pub seq: i64,
    /// The trip's.
    pub id: Uuid,
    /// Of the trip; of one that was deleted, the one after its last.
    pub version: i64,
    /// As it is; `None` if it was deleted.
    pub trip: Option<Trip>,
}

/// What is read of the feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedQuery {
    /// Behind this change.
    pub after: i64,
    /// At most so many.
    pub limit: u16,
}

/// A piece of the feed.
#[derive(Debug)]
pub struct Feed {
    /// In order.
    pub changes: Vec<Change>,
    /// The owner's counter: all up to it had happened when this was read.
    pub counter: i64,
    /// Whether there is more up to the counter.
    pub has_more: bool,
}

impl Trips {
    /// What became of the owner's trips, in order; each trip stands at its last change alone.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn feed(&self, owner: Uuid, window: FeedQuery) -> Result<Feed, StoreError> {
        self.db.read((owner, window), |tx, (owner, window)| feed(tx, *owner, *window).boxed()).await
    }

    /// Deletes the tombstones of trips that were deleted so long ago.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self, age: TimeDelta) -> Result<(), StoreError> {
        let before = self.clock.now() - age;
        while self.db.write(before, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await?
            == SWEEP_BATCH
        {}
        Ok(())
    }
}

async fn feed(tx: &Tx, owner: Uuid, window: FeedQuery) -> Result<Feed, StoreError> {
    // First of all: the other two statements may see later moments, and then what happened since must
    // wait for the next piece, or a change between them would be passed over.
    let counter = store::changes(tx, owner).await?;
    let limit = usize::from(window.limit);
    let (mut changes, until) = changed(tx, owner, window.after, counter, limit + 1).await?;
    changes.extend(store::deleted(tx, owner, window.after, until, limit + 1).await?);
    changes.sort_unstable_by_key(|change| change.seq);
    let has_more = changes.len() > limit || until < counter;
    changes.truncate(limit);
    Ok(Feed { changes, counter, has_more })
}

/// The trips that were made or changed behind `after`, and up to which change these are all: less than the
/// counter if they would take too much.
async fn changed(
    tx: &Tx,
    owner: Uuid,
    mut after: i64,
    counter: i64,
    most: usize,
) -> Result<(Vec<Change>, i64), StoreError> {
    let (mut changes, mut bytes) = (Vec::new(), 0);
    while changes.len() < most {
        let take = CHUNK.min(most - changes.len());
        let some = store::changed(tx, owner, after, counter, take).await?;
        let is_last = some.len() < take;
        after = some.last().map_or(after, |change| change.seq);
        bytes += some.iter().filter_map(|change| change.trip.as_ref()).map(Trip::json_len).sum::<usize>();
        changes.extend(some);
        if is_last {
            break;
        }
        if bytes >= PAGE_BYTES {
            return Ok((changes, after));
        }
    }
    Ok((changes, counter))
}

//! Reads what other replicas have changed: the signing keys, the revocations and the feed epoch.
//!
//! Every replica polls a few times a second, also while it is idle, so a poll is one statement. The statement
//! sees one state of all three tables. Further statements follow only after a change: if the keys have
//! changed, if there are more new revocations than one statement returns, or if a new epoch has begun.

use futures_util::FutureExt;

use super::key_cache::KeyCache;
use super::restore::Epoch;
use super::revocations::{PAGE, Revocations};
use super::{Inner, Tokens, store};
use crate::db::{Db, StoreError};

/// Reads the changes of other replicas, and applies the changes to the state in memory.
pub(super) async fn read_changes(
    db: &Db,
    keys: &KeyCache,
    revocations: &Revocations,
    epoch: &Epoch,
) -> Result<(), StoreError> {
    let start = revocations.begin_poll();
    let read = db.read(start.seq, |tx, seq| store::changes_after(tx, *seq, PAGE).boxed());
    let changes = read.await?;
    let id = epoch.observe(changes.epoch);
    if epoch.is_new(id) {
        tracing::warn!("a new feed epoch has begun, for example because a backup was restored");
        // After a restore, a new revocation can get a number that earlier polls have passed already. Therefore
        // read all revocations again.
        revocations.restart_polls();
        revocations.finish_poll(db, revocations.begin_poll(), None).await?;
    } else {
        revocations.finish_poll(db, start, Some(changes.revocations)).await?;
    }
    keys.reload_if_changed(changes.key_versions).await?;
    epoch.enter(id);
    Ok(())
}

impl Tokens {
    /// Reads the changes of other replicas. Returns `false` if the database can't be read.
    pub async fn poll(&self) -> bool {
        let Inner { db, revocations, keys, freshness, epoch, .. } = &*self.inner;
        // The future of a poll is large. Put it on the heap, so that it does not enlarge the future of every
        // request with a token: each such request can poll, but few do.
        freshness.refresh(Box::pin(read_changes(db, keys, revocations, epoch))).await
    }
}

//! Idempotency keys: a request that makes something makes it once, however often it is sent.
//!
//! The client names the request by a key of its own (draft-ietf-httpapi-idempotency-key-header). The key is
//! claimed by one insert before anything is done, and the answer is kept by the very transaction that does
//! it ([`ResponseRecorder::sign`]). So a server may be killed at any moment: before that transaction nothing
//! happened, and the claim runs out ([`CLAIM_TIMEOUT`]) and is taken over by one conditional update; after it the
//! answer is known. Whoever was overtaken can't finish: its claim is no longer there to be answered.
//!
//! Keys belong to their owner: another user's request under the same key is another request. The same
//! key for another request is refused. Only what was done is kept: a request that was refused did nothing,
//! lets go of its key, and is decided anew when it is sent again.

mod store;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde_json::Value;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::secrets::sha256;

/// How long an answer is kept.
pub const KEPT: TimeDelta = TimeDelta::days(7);
/// How long a request may run before it counts as given up. One that runs longer all the same can't finish
/// once it was taken over.
pub const CLAIM_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
/// How often a key that changes hands meanwhile is looked at again.
const ATTEMPTS: u32 = 4;
/// How many dead keys are deleted in one transaction.
const SWEEP_BATCH: u64 = 200;

/// A SHA-256: keys and requests are told apart by their digests.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    sha256(bytes)
}

/// The digest of the JSON that a request says: the same whatever the order of an object's members, which an
/// app may write in another order each time.
pub fn digest_json(mut value: Value) -> [u8; 32] {
    value.sort_all_objects();
    digest(value.to_string().as_bytes())
}

/// A request under a key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose key it is.
    pub owner: Uuid,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of all that the request asks for.
    pub digest: [u8; 32],
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedResponse {
    /// The HTTP status.
    pub status: u16,
    /// The path of what was made.
    pub location: Option<String>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// JSON.
    pub body: Vec<u8>,
}

/// The right to run a request, until somebody takes it over.
#[derive(Debug, Clone)]
pub struct Claim {
    owner: Uuid,
    key: [u8; 32],
    holder: Uuid,
}

/// A claim, and how the answer is made of what the request makes.
#[derive(Clone)]
pub struct ResponseRecorder<T> {
    claim: Claim,
    render: Render<T>,
}

/// How the answer is made of what the request makes.
pub type Render<T> = Arc<dyn Fn(&T) -> SavedResponse + Send + Sync>;

impl<T> fmt::Debug for ResponseRecorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseRecorder").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl<T> ResponseRecorder<T> {
    /// For a request that makes a `T`.
    pub fn new(claim: Claim, render: Render<T>) -> Self {
        Self { claim, render }
    }

    /// Keeps the answer, in the transaction in which `made` is made; `false` if the claim was taken over,
    /// and then that transaction must not be committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sign(&self, tx: &Tx, made: &T) -> Result<bool, StoreError> {
        store::answer(tx, self.claim.owner, &self.claim, &(self.render)(made)).await
    }
}

/// How a request goes on.
#[derive(Debug)]
pub enum Claimed {
    /// It is to be run.
    Start(Claim),
    /// It was done before.
    Replay(SavedResponse),
}

/// What is known of a key.
#[derive(Debug)]
struct StoredKey {
    digest: Vec<u8>,
    holder: Uuid,
    claimed_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    answer: Option<SavedResponse>,
}

impl StoredKey {
    /// Whether whoever asks for the same may have the key: it ran out, or who held it has given up.
    fn is_free(&self, digest: &[u8], now: DateTime<Utc>) -> bool {
        let given_up =
            self.answer.is_none() && self.claimed_at <= now - CLAIM_TIMEOUT && self.digest == digest;
        given_up || self.expires_at <= now
    }
}

/// Why a request is not run.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The first request with this key still runs.
    #[error("the first request with this key still runs")]
    InProgress,
    /// The key was used for another request.
    #[error("the key was used for another request")]
    Reused,
    /// The owner's account is gone.
    #[error("the owner is gone")]
    NoSuchOwner,
    /// The database.
    #[error("the keys can't be read or written")]
    Store(#[from] StoreError),
}

/// The keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    db: Db,
    clock: Clock,
}

impl Idempotency {
    /// Over a database.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Claims the key of a request that is about to run, or finds the answer that it was given before.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError`].
    pub async fn begin(&self, request: &Request) -> Result<Claimed, IdempotencyError> {
        let now = self.clock.now();
        let claim = Claim { owner: request.owner, key: request.key, holder: self.clock.new_id() };
        for _ in 0..ATTEMPTS {
            let input = (claim.clone(), request.digest, now);
            let claimed = self.db.write(input, |tx, (claim, digest, now)| {
                store::claim(tx, claim.owner, claim, digest, *now).boxed()
            });
            match claimed.await {
                Ok(()) => return Ok(Claimed::Start(claim)),
                Err(StoreError::UniqueViolation(_)) => {}
                Err(StoreError::ForeignKeyViolation(_)) => return Err(IdempotencyError::NoSuchOwner),
                Err(error) => return Err(error.into()),
            }
            let input = (request.owner, request.key);
            let kept = self.db.read(input, |tx, (owner, key)| store::find(tx, *owner, key).boxed()).await?;
            // It was let go of meanwhile.
            let Some(kept) = kept else { continue };
            if kept.is_free(&request.digest, now) {
                let input = (claim.clone(), request.digest, kept.holder, now);
                let taken = self.db.write(input, |tx, (claim, digest, holder, now)| {
                    store::take_over(tx, claim.owner, claim, *holder, digest, *now).boxed()
                });
                if taken.await? {
                    return Ok(Claimed::Start(claim));
                }
                continue;
            }
            if kept.digest != request.digest {
                return Err(IdempotencyError::Reused);
            }
            return kept.answer.map(Claimed::Replay).ok_or(IdempotencyError::InProgress);
        }
        Err(IdempotencyError::InProgress)
    }

    /// Lets go of the key of a request that did nothing. One that was answered after all stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn release(&self, claim: Claim) -> Result<(), StoreError> {
        self.db.write(claim, |tx, claim| store::release(tx, claim.owner, claim).boxed()).await
    }

    /// Deletes the keys that ran out.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let input = self.clock.now();
        while self.db.write(input, |tx, now| store::sweep(tx, *now, SWEEP_BATCH).boxed()).await?
            == SWEEP_BATCH
        {}
        Ok(())
    }
}

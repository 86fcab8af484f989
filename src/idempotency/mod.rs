//! Idempotency keys: a request that creates a resource runs once, even if the client sends it several times.
//!
//! The client chooses a key for the request (draft-ietf-httpapi-idempotency-key-header). One insert claims
//! the key before the request runs. The transaction that does the work also saves a reference to the result
//! ([`ResultRecorder::save`]), so a crash of the server at any time is safe. If the server crashes before
//! this transaction commits, nothing has changed: the claim times out ([`CLAIM_TIMEOUT`]), and the repeated
//! request takes over the claim with one conditional update. If the server crashes after the commit, the
//! repeated request finds the result. A request whose claim was taken over can't commit, because it can no
//! longer save a result under that claim.
//!
//! The server builds the response from the repeated request and the saved [`Reference`]. The reference has at
//! most 512 characters, regardless of the size of the response. The response to a repeated request is
//! therefore the same as the first response, even if the created resource was changed or deleted.
//!
//! Keys are separate for each owner: two users may use the same key for different requests. Reuse of a key
//! for a different request by the same user is rejected. Only successful results are saved. A rejected
//! request has changed nothing and releases its key. If the client sends the request again, the request runs
//! again.

mod store;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};
use crate::error_chain::error_chain;
use crate::secrets::sha256;

/// How long a result is retained.
pub const RESPONSE_RETENTION: TimeDelta = TimeDelta::days(7);
/// The time after which the claim of a running request counts as abandoned. If another request takes over the
/// claim, the running request can't commit.
pub const CLAIM_TIMEOUT: TimeDelta = TimeDelta::seconds(30);
/// Maximum number of attempts to claim a key that other requests claim or release at the same time.
const ATTEMPTS: u32 = 4;
/// Maximum number of expired keys deleted in one transaction.
const SWEEP_BATCH: u64 = 200;

/// Returns the SHA-256 digest that identifies a key or a request.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    sha256(bytes)
}

/// Returns the SHA-256 digest of a request's JSON. The digest does not depend on the order of the fields of
/// an object, because an app can send them in a different order each time.
pub fn digest_json(value: &Value) -> [u8; 32] {
    let mut text = Vec::new();
    write_sorted(value, &mut text);
    digest(&text)
}

/// Writes JSON with the fields of each object in the order of their names.
fn write_sorted(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            write_list(text, *b"{}", fields, |text, (name, field)| {
                write_scalar(name, text);
                text.push(b':');
                write_sorted(field, text);
            });
        }
        Value::Array(items) => write_list(text, *b"[]", items, |text, item| write_sorted(item, text)),
        scalar => write_scalar(scalar, text),
    }
}

fn write_list<T>(
    text: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    text.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write(text, item);
    }
    text.push(close);
}

fn write_scalar(scalar: &impl Serialize, text: &mut Vec<u8>) {
    // Writing a scalar to memory can't fail.
    drop(serde_json::to_writer(text, scalar));
}

/// A request with an idempotency key.
#[derive(Debug, Clone)]
pub struct Request {
    /// The owner of the key.
    pub owner: Uuid,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of the whole request.
    pub digest: [u8; 32],
}

/// A response that is sent again if the request is repeated. Its status is 201.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedResponse {
    /// The path of the created resource.
    pub location: Option<String>,
    /// The entity tag of the created resource.
    pub etag: Option<String>,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// JSON from which the response is built again, together with the repeated request. At most 512 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(pub String);

/// The stored result of a completed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// The reference from which the response is built again.
    Reference(Reference),
    /// The whole response, which an earlier version of the server has stored.
    Response(SavedResponse),
}

/// The right to run a request, until another request takes over this right.
#[derive(Debug, Clone)]
pub struct Claim {
    owner: Uuid,
    key: [u8; 32],
    holder: Uuid,
}

/// A claim, and the function that returns the reference to the result of the request.
pub struct ResultRecorder<T> {
    claim: Claim,
    refer: Refer<T>,
}

/// Returns the reference to the result of a request.
pub type Refer<T> = Arc<dyn Fn(&T) -> Reference + Send + Sync>;

impl<T> Clone for ResultRecorder<T> {
    fn clone(&self) -> Self {
        Self { claim: self.claim.clone(), refer: Arc::clone(&self.refer) }
    }
}

impl<T> fmt::Debug for ResultRecorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultRecorder").field("claim", &self.claim).finish_non_exhaustive()
    }
}

impl<T> ResultRecorder<T> {
    /// Creates a recorder for a request that creates a `T`.
    pub fn new(claim: Claim, refer: Refer<T>) -> Self {
        Self { claim, refer }
    }

    /// Saves the result, in the transaction that creates `created`. Returns `false` if the claim was taken over;
    /// the transaction must then not be committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn save(&self, tx: &Tx, created: &T) -> Result<bool, StoreError> {
        store::save_reference(tx, self.claim.owner, &self.claim, &(self.refer)(created)).await
    }
}

/// The times of a request.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// The time of this request on the clock that all replicas share. It is stored with the claim, and
    /// compared with the stored time of an earlier claim.
    shared: DateTime<Utc>,
    /// The time that decides whether a key has expired.
    trusted: DateTime<Utc>,
}

/// The result of claiming a key.
#[derive(Debug)]
pub enum Claimed {
    /// The caller must run the request.
    Start(Claim),
    /// The request has already run. The value is the result of the request.
    Replay(Saved),
}

/// The stored state of a key.
#[derive(Debug)]
struct StoredKey {
    digest: Vec<u8>,
    holder: Uuid,
    claimed_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    saved: Option<Saved>,
}

impl StoredKey {
    /// Returns whether a request with this digest can take over the key: either the key has expired, or an
    /// earlier attempt of the same request has claimed and abandoned the key.
    fn is_free(&self, digest: &[u8], at: Times) -> bool {
        // If the clock was set back after the claim, the claim's time is in the future, so compare the
        // absolute difference. Taking over the claim of a request that still runs is safe: that request can't
        // commit.
        let is_current = (at.shared - self.claimed_at).abs() < CLAIM_TIMEOUT;
        let is_abandoned = self.saved.is_none() && !is_current && self.digest == digest;
        is_abandoned || self.expires_at <= at.trusted
    }
}

/// Why a request must not run.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The first request with this key is still running.
    #[error("the first request with this key is still running")]
    InProgress,
    /// The key was used for a different request.
    #[error("the key was used for a different request")]
    Reused,
    /// The owner has claimed the maximum number of keys today. The value is this maximum.
    #[error("the owner has claimed too many idempotency keys today")]
    QuotaExceeded(i64),
    /// The owner's account does not exist.
    #[error("the owner's account does not exist")]
    NoSuchOwner,
    /// A query failed.
    #[error("failed to read or write idempotency keys")]
    Store(#[from] StoreError),
}

/// Claims and releases idempotency keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    db: Db,
    clock: Clock,
    max_keys: i64,
}

impl Idempotency {
    /// Creates the service on a database. A user can claim `max_keys` keys in a day (UTC).
    pub fn new(db: Db, clock: Clock, max_keys: i64) -> Self {
        Self { db, clock, max_keys }
    }

    /// Claims the key of a request that is about to run, or returns the saved result of an earlier run.
    ///
    /// # Errors
    ///
    /// [`IdempotencyError`]. The request has not run, even if it is unknown whether the key was claimed.
    pub async fn claim(&self, request: &Request) -> Result<Claimed, IdempotencyError> {
        let at = Times { shared: self.clock.shared_now(), trusted: self.clock.trusted_now() };
        let claim = Claim { owner: request.owner, key: request.key, holder: self.clock.new_id() };
        for _ in 0..ATTEMPTS {
            let input = (claim.clone(), request.digest, at, self.max_keys);
            let claimed = self.db.write(input, |tx, (claim, digest, at, max)| {
                insert_within_quota(tx, claim, digest, *at, *max).boxed()
            });
            match claimed.await {
                Ok(true) => return Ok(Claimed::Start(claim)),
                Ok(false) => return Err(IdempotencyError::QuotaExceeded(self.max_keys)),
                Err(StoreError::UniqueViolation(_)) => {}
                Err(StoreError::ForeignKeyViolation(_)) => return Err(IdempotencyError::NoSuchOwner),
                Err(error) => return Err(self.abandon(claim, error)),
            }
            let input = (request.owner, request.key);
            let stored = self.db.read(input, |tx, (owner, key)| store::find(tx, *owner, key).boxed()).await?;
            // The key was released after the insert failed.
            let Some(stored) = stored else { continue };
            if stored.is_free(&request.digest, at) {
                let input = (claim.clone(), request.digest, stored.holder, at);
                let taken = self.db.write(input, |tx, (claim, digest, holder, at)| {
                    store::take_over(tx, claim.owner, claim, *holder, digest, *at).boxed()
                });
                if taken.await.map_err(|error| self.abandon(claim.clone(), error))? {
                    return Ok(Claimed::Start(claim));
                }
                continue;
            }
            if stored.digest != request.digest {
                return Err(IdempotencyError::Reused);
            }
            return stored.saved.map(Claimed::Replay).ok_or(IdempotencyError::InProgress);
        }
        Err(IdempotencyError::InProgress)
    }

    /// Returns the error of a failed claim. If the claim was possibly committed, releases it, so that the
    /// client can repeat the request immediately.
    fn abandon(&self, claim: Claim, error: StoreError) -> IdempotencyError {
        if matches!(error, StoreError::OutcomeUnknown(_)) {
            drop(self.release_in_background(claim));
        }
        error.before_the_work().into()
    }

    /// Releases a key like [`Idempotency::release`], but in a separate task, which logs a failure.
    pub fn release_in_background(&self, claim: Claim) -> JoinHandle<()> {
        let keys = self.clone();
        tokio::spawn(async move {
            if let Err(error) = keys.release(claim).await {
                tracing::debug!(causes = error_chain(&error), "failed to release an idempotency key");
            }
        })
    }

    /// Releases the key of a request that changed nothing. Has no effect if a result was saved.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn release(&self, claim: Claim) -> Result<(), StoreError> {
        self.db.write(claim, |tx, claim| store::release(tx, claim.owner, claim).boxed()).await
    }

    /// Deletes expired keys.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.clock.trusted_now();
        self.db.sweep(now, SWEEP_BATCH, |tx, now| store::sweep(tx, *now, SWEEP_BATCH).boxed()).await
    }
}

/// Claims a key, unless its owner has already claimed `max` keys today. Returns whether the key is claimed.
async fn insert_within_quota(
    tx: &Tx,
    claim: &Claim,
    digest: &[u8; 32],
    at: Times,
    max: i64,
) -> Result<bool, StoreError> {
    // Claim the key before counting it. For a repeated request, the claim fails, and the key is not counted
    // again.
    store::claim(tx, claim.owner, claim, digest, at).await?;
    let day = at.trusted.timestamp().div_euclid(86_400);
    if store::count_key(tx, claim.owner, day).await? <= max {
        return Ok(true);
    }
    store::release(tx, claim.owner, claim).await?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_digest_of_json_does_not_depend_on_the_order_of_fields() {
        let one = json!({ "b": [1, { "y": "\"\u{7f}é", "x": null }, []], "a": {}, "c": 1.5 });
        let other = json!({ "c": 1.5, "a": {}, "b": [1, { "x": null, "y": "\"\u{7f}é" }, []] });
        assert_eq!(digest_json(&one), digest_json(&other));
        let mut sorted = other.clone();
        sorted.sort_all_objects();
        assert_eq!(digest_json(&one), digest(sorted.to_string().as_bytes()));
        assert_ne!(digest_json(&one), digest_json(&json!({ "b": [], "a": {}, "c": 1.5 })));
    }
}

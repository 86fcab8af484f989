//! The throttle: slows down guessing without locking out the owner of an account.
//!
//! A [`Bucket`] counts failed attempts for one key, for example one account from one address. A bucket has a
//! number of free failures. The last free failure blocks the bucket for 30 seconds. Each further failure
//! blocks the bucket again, for twice as long as the previous block, up to 15 minutes. Counted failures
//! expire one by one, at a constant rate. The state of a bucket consists of two times: the time at which the
//! last counted failure expires (GCRA, "generic cell rate algorithm"), and the end of the block.
//!
//! Invariants:
//!
//! - The state is in the database, so it survives a restart and is the same for all replicas.
//! - A successful attempt writes nothing, unless an attempt has failed before. It executes one statement, which
//!   reads all its buckets by their primary keys; on a database server, it executes this statement twice.
//!   Buckets are not cached, because another replica may count failures at any time.
//! - While a bucket is blocked, no attempt begins. Several servers together can begin more concurrent
//!   attempts than there are free failures. When an attempt ends, its server therefore checks again whether a
//!   bucket is blocked. If so, the server returns the block and not the result.
//! - A name is counted in the same way whether or not an account has it. Only its keyed hash is stored.
//! - Rows expire, and each limit has at most [`SPACE`] rows, however many names an attacker invents.
//! - A login with a valid device token ([`DeviceTokens`]) has a counter of its own, so that attacks from
//!   other devices do not lock out the owner.

mod attempt;
mod device_token;
mod gate;
pub mod limits;
mod management;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;

use crate::clock::Clock;
use crate::db::{Db, HasStoreError, StoreError, Tx};
use crate::metrics;
use crate::secrets::{MacKey, MasterSecret, Purpose};

pub use attempt::{Attempt, Failure};
pub use device_token::{CredentialTag, Device, DeviceTokens};
use gate::Gate;
pub use management::{SlowedDown, Subject};

/// The number of places (rows) for the keys of one limit. A keyed hash assigns each key to a place. Keys with
/// the same place share one count. With a million keys at the same time, a place has one key on average.
pub const SPACE: i64 = 1 << 20;
/// Each pair has a number of failures beyond the free failures, and the duration of the block in seconds. The
/// last duration also applies to more failures.
const DELAYS_SECS: [(i64, i64); 6] = [(0, 30), (1, 60), (2, 120), (3, 240), (4, 480), (5, 900)];
/// The minimum time between two alerts for one account.
const ALERT_INTERVAL: TimeDelta = TimeDelta::days(1);
/// The maximum difference between the shared times of two servers.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);
/// The maximum number of rows that one transaction deletes.
const SWEEP_BATCH: u64 = 500;

/// A limit of failed attempts, or of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The name of the limit in `RateLimit-Policy` and `tripgate throttle list`: at most 32 characters.
    pub name: &'static str,
    /// The number of free attempts: at least 2, or at least 1 for a limit of requests
    /// ([`Throttle::try_take`]).
    pub free: u32,
    /// The time after which one counted attempt expires, in seconds.
    pub forget_secs: u32,
}

/// A counter: a limit, and the key for which the limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    limit: Limit,
    key: Vec<u8>,
    /// The canonical name of the account, if there is one.
    account: Option<String>,
    /// The address or network that `tripgate throttle` displays; empty if there is none.
    address: String,
}

/// The row in which a bucket is stored.
#[derive(Debug, Clone)]
struct Place {
    id: i64,
    limit: Limit,
    account: i64,
    address: String,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy)]
struct State {
    id: i64,
    forgotten_at: DateTime<Utc>,
    blocked_until: DateTime<Utc>,
}

/// A row as `tripgate throttle list` displays it.
#[derive(Debug)]
struct Row {
    state: State,
    kind: String,
    account: i64,
    address: String,
}

/// The limit refuses attempts for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts")]
pub struct Blocked {
    /// The limit.
    pub limit: Limit,
    /// The seconds to wait: at least 1.
    pub retry_after_secs: u64,
}

/// Why an attempt is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// There were too many attempts.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// An error of the database.
    #[error("failed to read or write throttle buckets")]
    Store(#[from] StoreError),
}

impl HasStoreError for ThrottleError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Blocked(_) => None,
        }
    }
}

/// Counts attempts, and rejects attempts beyond the limits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle {
    db: Db,
    clock: Clock,
    mac: MacKey,
    gate: Gate,
    devices: DeviceTokens,
    is_on: bool,
}

impl Bucket {
    /// Creates the bucket of a key.
    pub fn new(limit: Limit, key: &[u8]) -> Self {
        Self { limit, key: key.to_vec(), account: None, address: String::new() }
    }

    /// Sets the account that `tripgate throttle` displays for the bucket. `name` is in canonical form.
    #[must_use]
    pub fn of_account(self, name: &str) -> Self {
        Self { account: Some(name.to_owned()), ..self }
    }

    /// Sets the address or network that `tripgate throttle` displays for the bucket. At most 64 characters.
    #[must_use]
    pub fn at(self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self }
    }
}

impl Limit {
    /// Returns the time in which `free` counted attempts expire, in seconds.
    pub fn window_secs(&self) -> u32 {
        self.free.saturating_mul(self.forget_secs)
    }

    fn forget(&self) -> TimeDelta {
        TimeDelta::seconds(self.forget_secs.into())
    }

    /// Returns how many attempts are counted.
    fn count(&self, forgotten_at: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
        let forget = i64::from(self.forget_secs) * 1000;
        let left = (forgotten_at - now).num_milliseconds().max(0);
        u32::try_from((left + forget - 1) / forget).unwrap_or(u32::MAX)
    }

    /// Returns the longest time until all counted attempts have expired. A block of the maximum length ends
    /// much earlier.
    fn horizon(&self) -> TimeDelta {
        let levels = DELAYS_SECS.last().map_or(0, |(level, _)| level + 1);
        TimeDelta::seconds(i64::from(self.forget_secs) * (i64::from(self.free) + levels))
    }
}

/// Returns the longest block.
fn longest_block() -> TimeDelta {
    TimeDelta::seconds(DELAYS_SECS.last().map_or(0, |(_, secs)| *secs))
}

impl Throttle {
    /// Creates the throttle. If `is_on` is false, the throttle neither counts nor refuses anything.
    pub fn new(db: Db, clock: Clock, secret: &MasterSecret, is_on: bool) -> Self {
        let mac = MacKey::new(&secret.derive(Purpose::Throttle));
        let devices = DeviceTokens::new(secret, clock.clone());
        Self { db, clock, mac, gate: Gate::default(), devices, is_on }
    }

    /// Returns the service that issues and verifies device tokens.
    pub fn devices(&self) -> &DeviceTokens {
        &self.devices
    }

    /// Begins an attempt that takes a while, such as comparing a password. Waits for attempts in progress on
    /// the same buckets, so that the number of concurrent attempts on this server never exceeds the number that
    /// may fail. A success resets the first bucket.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Blocked`] if any of the buckets is blocked.
    pub async fn begin(&self, buckets: Vec<Bucket>) -> Result<Attempt, ThrottleError> {
        let places: Vec<Place> = buckets.iter().map(|bucket| self.place(bucket)).collect();
        if !self.is_on {
            return Ok(Attempt::new(self.clone(), places, false, Vec::new()));
        }
        let mut wanted = vec![1; places.len()];
        loop {
            let mut occupied = Vec::with_capacity(places.len());
            // Always enter the buckets in the same order, so that attempts cannot deadlock.
            for (place, wanted) in places.iter().zip(&wanted) {
                let entered = self.gate.enter(place.id, *wanted, place.limit.free).await;
                occupied.push(entered.ok_or(Blocked { limit: place.limit, retry_after_secs: 1 })?);
            }
            let counts = self.counts(&places).await?;
            let needed: Vec<u32> =
                counts.iter().zip(&places).map(|(count, place)| (count + 1).min(place.limit.free)).collect();
            if needed.iter().zip(&wanted).all(|(needed, wanted)| needed <= wanted) {
                let is_counted = counts.first().is_some_and(|count| *count > 0);
                return Ok(Attempt::new(self.clone(), places, is_counted, occupied));
            }
            wanted = needed;
        }
    }

    /// Begins an attempt whose check takes almost no time, such as comparing the secret of a service. Does
    /// not limit concurrent attempts.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Blocked`] if any of the buckets is blocked.
    pub async fn check(&self, buckets: Vec<Bucket>) -> Result<Attempt, ThrottleError> {
        let places: Vec<Place> = buckets.iter().map(|bucket| self.place(bucket)).collect();
        let counts = if self.is_on { self.counts(&places).await? } else { Vec::new() };
        let is_counted = counts.first().is_some_and(|count| *count > 0);
        Ok(Attempt::new(self.clone(), places, is_counted, Vec::new()))
    }

    /// Counts a request, for example one that sends a mail, in the transaction of the caller. After the free
    /// requests of the limit, one more request is allowed each time that a counted request expires.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Blocked`]; in this case nothing was counted, and the caller rolls the transaction
    /// back.
    pub async fn take(&self, tx: &Tx, bucket: &Bucket) -> Result<(), ThrottleError> {
        self.try_take(tx, bucket).await?.map_or(Ok(()), |blocked| Err(refused(blocked)))
    }

    /// Counts a request in the transaction of the caller. If the limit is reached, counts nothing and returns
    /// the block.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn try_take(&self, tx: &Tx, bucket: &Bucket) -> Result<Option<Blocked>, StoreError> {
        if !self.is_on {
            return Ok(None);
        }
        let now = self.clock.shared_now();
        match store::take(tx, &self.place(bucket), now).await {
            // Another request inserted the row at the same time; the transaction runs again.
            Err(StoreError::UniqueViolation(_)) => Err(StoreError::conflict()),
            taken => Ok(taken?.map(|next| blocked(bucket.limit, next - now))),
        }
    }

    /// Counts a failed attempt in the transaction of the caller. Returns true if the account that the attempt
    /// named is under attack and its owner must be alerted now. Returns true at most once a day for each name.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Store`], or [`ThrottleError::Blocked`] if concurrent attempts have used up the free
    /// failures. In both cases, the failure was not counted, and the response must not reveal that the
    /// password or code was wrong.
    pub async fn count_failure(&self, tx: &Tx, failure: &Failure) -> Result<bool, ThrottleError> {
        self.lock(tx, &failure.places, failure.at).await?;
        Ok(store::count_failure(tx, &failure.places, failure.at).await?)
    }

    /// Resets the first of the places, in the transaction of the caller.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Blocked`] if a place is blocked.
    async fn reset(&self, tx: &Tx, places: &[Place]) -> Result<(), ThrottleError> {
        self.lock(tx, places, self.clock.shared_now()).await?;
        match places.first() {
            Some(place) => Ok(store::reset(tx, place.id).await?),
            None => Ok(()),
        }
    }

    /// Locks the places until the end of the transaction, so that no other server changes them.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::Blocked`] if a place is blocked.
    async fn lock(&self, tx: &Tx, places: &[Place], now: DateTime<Utc>) -> Result<(), ThrottleError> {
        store::lock(tx, places, now).await?;
        self.allowed(places, &store::states(tx, &ids(places)).await?).map(drop)
    }

    /// Returns how many failures each place has counted.
    async fn counts(&self, places: &[Place]) -> Result<Vec<u32>, ThrottleError> {
        let states: Result<Vec<State>, StoreError> =
            self.db.read(ids(places), |tx, ids| store::states(tx, ids).boxed()).await;
        self.allowed(places, &states?)
    }

    /// Returns how many failures each place has counted, or [`ThrottleError::Blocked`].
    fn allowed(&self, places: &[Place], states: &[State]) -> Result<Vec<u32>, ThrottleError> {
        let now = self.clock.shared_now();
        let mut longest: Option<Blocked> = None;
        let mut counts = Vec::with_capacity(places.len());
        for place in places {
            let Some(state) = states.iter().find(|state| state.id == place.id) else {
                counts.push(0);
                continue;
            };
            counts.push(place.limit.count(state.forgotten_at, now));
            let left = state.blocked_until - now;
            // Ignore a block that is longer than the longest possible block: it was stored before the clock
            // was set back.
            if left > TimeDelta::zero() && left <= longest_block() + CLOCK_SKEW {
                let this = blocked(place.limit, left);
                longest =
                    longest.filter(|other| other.retry_after_secs >= this.retry_after_secs).or(Some(this));
            }
        }
        longest.map_or(Ok(counts), |blocked| Err(refused(blocked)))
    }

    /// Returns the row in which a bucket is stored.
    fn place(&self, bucket: &Bucket) -> Place {
        let place = self.hash(&[bucket.limit.name.as_bytes(), b"\0", &bucket.key].concat()) % SPACE;
        let limit = self.hash(bucket.limit.name.as_bytes()) / SPACE * SPACE;
        Place {
            id: limit + place,
            limit: bucket.limit,
            account: bucket.account.as_deref().map_or(0, |name| self.account(name)),
            address: bucket.address.clone(),
        }
    }

    /// Returns the keyed hash of an account's name.
    fn account(&self, name: &str) -> i64 {
        self.hash(&[b"account name\0", name.as_bytes()].concat())
    }

    /// Returns 63 bits of a keyed hash.
    fn hash(&self, text: &[u8]) -> i64 {
        let tag = self.mac.tag(text);
        let first = tag.as_ref().first_chunk().copied().unwrap_or_default();
        i64::from_be_bytes(first) & i64::MAX
    }

    /// Deletes expired rows.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let now = self.clock.shared_now();
        self.db.sweep(now, SWEEP_BATCH, |tx, now| store::sweep(tx, *now, SWEEP_BATCH).boxed()).await
    }
}

fn ids(places: &[Place]) -> Vec<i64> {
    places.iter().map(|place| place.id).collect()
}

/// Counts the refusal in the metrics.
fn refused(blocked: Blocked) -> ThrottleError {
    metrics::throttled(blocked.limit.name);
    blocked.into()
}

fn blocked(limit: Limit, left: TimeDelta) -> Blocked {
    let secs = (left.num_milliseconds().max(1) + 999) / 1000;
    Blocked { limit, retry_after_secs: secs.unsigned_abs() }
}

//! Leases select one replica for a job that only one replica needs to run.
//!
//! A lease is a row with a name, a holder and an expiry. The expiry is in the time that all replicas share
//! ([`Clock::shared_now`]). One conditional update acquires a free or expired lease, or extends it for its
//! holder. If a lease expires more than a minute later than a new lease would, a replica with a fast clock
//! has written this lease, so the lease is treated as free. A lease avoids duplicate work, but it does not
//! guarantee mutual exclusion: with clock skew, or if a replica pauses while it holds a lease, two replicas
//! can run the job at the same time. A job must therefore be correct without its lease.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError};

/// Acquires and releases leases for one replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leases {
    db: Db,
    clock: Clock,
    /// The holder id that this process writes to its leases. After a restart, a replica has another id.
    holder: Uuid,
}

/// A request for a lease.
#[derive(Debug, Clone)]
struct Claim {
    name: &'static str,
    holder: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    /// The latest expiry that a valid lease can have.
    latest: DateTime<Utc>,
}

/// The maximum difference between the shared times of two replicas.
const SKEW: TimeDelta = TimeDelta::minutes(1);

impl Leases {
    /// Creates the service, with a new holder id for this replica.
    pub fn new(db: Db, clock: Clock) -> Self {
        let holder = clock.new_id();
        Self { db, clock, holder }
    }

    /// Acquires or extends a lease. Returns `false` if another replica holds it. `name` has at most 64
    /// characters.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn acquire(&self, name: &'static str, ttl: TimeDelta) -> Result<bool, StoreError> {
        let now = self.clock.shared_now();
        let until = now + ttl;
        let claim = Claim { name, holder: self.holder, now, until, latest: until + SKEW };
        match self.db.write(claim, |tx, claim| store::acquire(tx, claim).boxed()).await {
            // Another replica inserted the row at the same time.
            Err(StoreError::UniqueViolation(_)) => Ok(false),
            other => other,
        }
    }

    /// Returns the latest expiry of all leases, in the past or the future; `None` if there are no leases. A
    /// replica acquires a lease directly before it runs the job. The last job therefore began at most
    /// the duration of a lease before this time.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn latest_expiry(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.db.read((), |tx, ()| store::latest_expiry(tx).boxed()).await
    }

    /// Releases a lease if this replica holds it, so that another replica can acquire it immediately.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn release(&self, name: &'static str) -> Result<(), StoreError> {
        let input = (name, self.holder);
        self.db.write(input, |tx, (name, holder)| store::release(tx, name, *holder).boxed()).await
    }
}

//! Leases: which replica does what only one need do.
//!
//! A lease is a row with a name, a holder and an end. Whoever finds it free or past its end takes it, and
//! its holder prolongs it, by one conditional update. It spares work and promises nothing: with clocks
//! apart or a pause in the wrong place two replicas may act at once, so whatever is done under a lease
//! must be right without one.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError};

/// The leases, for one replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leases {
    db: Db,
    clock: Clock,
    /// This replica, since its start.
    holder: Uuid,
}

/// A lease that somebody wants.
#[derive(Debug, Clone)]
struct Claim {
    name: &'static str,
    holder: Uuid,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Leases {
    /// For a replica that just started.
    pub fn new(db: Db, clock: Clock) -> Self {
        let holder = clock.new_id();
        Self { db, clock, holder }
    }

    /// Takes or prolongs a lease; `false` if another replica holds it. `name` has at most 64 characters.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn hold(&self, name: &'static str, how_long: TimeDelta) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let claim = Claim { name, holder: self.holder, now, until: now + how_long };
        match self.db.write(claim, |tx, claim| store::hold(tx, claim).boxed()).await {
            // Somebody else made the row at the same moment.
            Err(StoreError::UniqueViolation(_)) => Ok(false),
            other => other,
        }
    }

    /// Lets go of a lease, if it is held here, for another replica to take at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn give_up(&self, name: &'static str) -> Result<(), StoreError> {
        let input = (name, self.holder);
        self.db.write(input, |tx, (name, holder)| store::give_up(tx, name, *holder).boxed()).await
    }
}

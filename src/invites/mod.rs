//! Invites: codes with which people sign up if the server requires an invitation.
//!
//! Only the operator creates codes. A code is random and shown once. The database stores a digest of the
//! code. Each new account counts as one use of its code. An `UPDATE` counts the use in the transaction that
//! creates the account. The `UPDATE` matches only a code that has uses left, so concurrent sign-ups never
//! exceed the allowed number of uses. The database does not record which accounts were created with an
//! invite.

mod code;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::clock::Clock;
use crate::db::{Db, StoreError, Tx};

pub use code::InviteCode;

/// How long an expired invite is listed.
const EXPIRED_RETENTION: TimeDelta = TimeDelta::days(30);
/// The number of rows that one transaction of a sweep deletes.
const SWEEP_BATCH: u64 = 500;

/// An invite, without its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invite {
    /// The id.
    pub id: Uuid,
    /// The number of accounts that the code allows.
    pub uses: u32,
    /// The number of accounts that were created with the code.
    pub used: u32,
    /// When the invite was created.
    pub created_at: DateTime<Utc>,
    /// When the invite expires. `None` if it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why an invite can't be created or removed.
#[derive(Debug, thiserror::Error)]
pub enum InvitesError {
    /// No invite has this id.
    #[error("no invite with this id")]
    NoSuchInvite,
    /// A query on the database failed.
    #[error("failed to read or write invites")]
    Store(#[from] StoreError),
}

/// Creates, lists, redeems and removes invites. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Invites {
    db: Db,
    clock: Clock,
}

impl Invites {
    /// Creates the service.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Creates an invite for `uses` accounts, and returns its code, which can't be read later. Without `ttl`,
    /// the invite does not expire.
    ///
    /// # Errors
    ///
    /// [`InvitesError::Store`].
    pub async fn add(&self, uses: u32, ttl: Option<TimeDelta>) -> Result<(Invite, InviteCode), InvitesError> {
        let (code, created_at) = (InviteCode::random(), self.clock.now());
        let expires_at = ttl.map(|ttl| created_at + ttl);
        let invite = Invite { id: self.clock.new_id(), uses, used: 0, created_at, expires_at };
        let input = (invite, code.clone());
        self.db.write(input, |tx, (invite, code)| store::insert(tx, invite, code).boxed()).await?;
        Ok((invite, code))
    }

    /// Returns all invites, the oldest first.
    ///
    /// # Errors
    ///
    /// [`InvitesError::Store`].
    pub async fn list(&self) -> Result<Vec<Invite>, InvitesError> {
        self.db.read((), |tx, ()| store::all(tx).boxed()).await.map_err(InvitesError::Store)
    }

    /// Removes an invite. Its code is rejected from now on. Accounts that were created with the code stay.
    ///
    /// # Errors
    ///
    /// [`InvitesError::NoSuchInvite`].
    pub async fn remove(&self, id: Uuid) -> Result<(), InvitesError> {
        let removed: Result<bool, StoreError> =
            self.db.write(id, |tx, id| store::remove(tx, *id).boxed()).await;
        if removed? { Ok(()) } else { Err(InvitesError::NoSuchInvite) }
    }

    /// Deletes invites that expired more than 30 days ago. Call it only while [`Clock::is_steady`] returns
    /// true.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let before = self.clock.now() - EXPIRED_RETENTION;
        self.db.sweep(before, SWEEP_BATCH, |tx, before| store::sweep(tx, *before, SWEEP_BATCH).boxed()).await
    }
}

/// Returns whether a code can be used now.
///
/// # Errors
///
/// [`StoreError`].
pub async fn is_usable(tx: &Tx, code: &InviteCode, now: DateTime<Utc>) -> Result<bool, StoreError> {
    store::is_usable(tx, code, now).await
}

/// Uses a code, in the transaction that creates the account. Returns `false` if the code is unknown, used up
/// or expired.
///
/// # Errors
///
/// [`StoreError`].
pub async fn redeem(tx: &Tx, code: &InviteCode, now: DateTime<Utc>) -> Result<bool, StoreError> {
    store::redeem(tx, code, now).await
}

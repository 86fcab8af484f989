//! Invalidates the flows of a user, and finds the addresses that an undo can restore.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Flows, store, token};
use crate::db::{StoreError, Tx};

/// The former addresses that the undo of a change of address can restore.
#[derive(Debug)]
pub struct ReservedAddresses<'a> {
    flows: &'a Flows,
    subjects: HashSet<Vec<u8>>,
}

impl ReservedAddresses<'_> {
    /// Returns true if an undo can restore this address. `address_key` is the canonical form of the address.
    pub fn contains(&self, address_key: &str) -> bool {
        let subject = token::address_hash(&self.flows.mac, address_key);
        self.subjects.contains(subject.as_slice())
    }
}

impl Flows {
    /// Returns all addresses that an undo can restore.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn reserved(&self, tx: &Tx) -> Result<ReservedAddresses<'_>, StoreError> {
        let subjects = store::reserved_subjects(tx, self.clock.now()).await?;
        Ok(ReservedAddresses { flows: self, subjects: subjects.into_iter().collect() })
    }
}

/// Invalidates all unused flows of a user, except those that undo a change of address or end a session: a
/// thief who uses the account must not be able to invalidate these two kinds of flows.
///
/// # Errors
///
/// [`StoreError`].
pub async fn end_all(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    store::end_all(tx, user, now).await
}

/// Invalidates all unused confirmations of a user's address, because an operator has confirmed the address.
///
/// # Errors
///
/// [`StoreError`].
pub async fn end_confirmations(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    store::end_confirmations(tx, user, now).await
}

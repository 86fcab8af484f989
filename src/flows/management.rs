//! Ends flows for a process that serves no requests.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::store;
use crate::db::{StoreError, Tx};

/// Like [`super::Flows::end_all`].
///
/// # Errors
///
/// [`StoreError`].
pub async fn end_all(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    store::end_all(tx, user, now).await
}

/// Invalidates all unused confirmations of a user's address, because an operator has confirmed it.
///
/// # Errors
///
/// [`StoreError`].
pub async fn end_confirmations(tx: &Tx, user: Uuid, now: DateTime<Utc>) -> Result<(), StoreError> {
    store::end_confirmations(tx, user, now).await
}

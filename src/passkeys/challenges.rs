//! Challenges: random values that a response must contain, so that a captured response cannot be used again.
//!
//! A challenge is valid once, for 5 minutes, and only for the ceremony and the user for which it was issued.
//! The request that uses a challenge deletes its row, even if the response is rejected. If several requests
//! use the same challenge in parallel, only one request deletes the row and succeeds.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::challenge::{Ceremony, Challenge, PresentedChallenge};
use super::store::challenges;
use super::verification::Rejection;
use crate::db::{StoreError, Tx};
use crate::secrets::random_bytes;

/// How long a challenge is valid.
pub const TTL: TimeDelta = TimeDelta::minutes(5);
/// The maximum number of unused challenges of a user. A further challenge replaces the oldest.
const OPEN_MAX: u64 = 20;

/// Issues a challenge.
pub(super) async fn issue(
    tx: &Tx,
    id: Uuid,
    ceremony: Ceremony,
    user: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Challenge, StoreError> {
    let challenge = Challenge { id, value: random_bytes::<32>().to_vec(), expires_at: now + TTL };
    if let Some(user) = user {
        challenges::delete_oldest(tx, user, OPEN_MAX - 1).await?;
    }
    challenges::insert(tx, ceremony, user, &challenge).await?;
    Ok(challenge)
}

/// Deletes a challenge when a request uses it. Returns its random value.
pub(super) async fn take(
    tx: &Tx,
    presented: PresentedChallenge,
    now: DateTime<Utc>,
) -> Result<Result<Vec<u8>, Rejection>, StoreError> {
    let Some(value) = challenges::find(tx, presented, now).await? else {
        return Ok(Err(Rejection::UnknownChallenge));
    };
    // If several requests use the challenge in parallel, only the request that deletes the row continues.
    let is_first = challenges::delete(tx, presented).await?;
    Ok(if is_first { Ok(value) } else { Err(Rejection::UnknownChallenge) })
}

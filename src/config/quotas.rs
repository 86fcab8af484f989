//! The settings of the quotas.

use super::{Reader, parse};

/// What one user can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Maximum number of trips.
    pub trips: u32,
    /// Maximum size of the texts of the trips, in bytes.
    pub trip_bytes: u64,
    /// Maximum number of sessions.
    pub sessions: u32,
    /// Maximum number of idempotency keys per day.
    pub idempotency_keys: u32,
    /// Maximum number of stored sync operations.
    pub sync_operations: u32,
    /// Maximum number of stored deletions.
    pub tombstones: u32,
}

impl Quotas {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            trips: r.required("quota_trips", 0, parse::number),
            trip_bytes: r.required("quota_trip_bytes", 0, parse::number),
            sessions: r.required("quota_sessions", 0, parse::number),
            idempotency_keys: r.required("quota_idempotency_keys", 0, parse::number),
            sync_operations: r.required("quota_sync_operations", 0, parse::number),
            tombstones: r.required("quota_tombstones", 0, parse::number),
        }
    }
}

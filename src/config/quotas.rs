//! The settings of the quotas.

/// What one user can store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Maximum number of trips.
    pub trips: u32,
    /// Maximum size of the texts of the trips, in bytes.
    pub trip_bytes: u64,
    /// Maximum number of sessions.
    pub sessions: u32,
    /// Maximum number of idempotency keys in a day.
    pub idempotency_keys: u32,
    /// Maximum number of remembered sync operations.
    pub sync_operations: u32,
    /// Maximum number of remembered deletions.
    pub tombstones: u32,
}

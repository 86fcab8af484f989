//! The metrics of this process, in the text format of Prometheus.
//!
//! Metrics are global, like the log: every layer records events with one function call, and [`render`]
//! returns all metrics. Invariants: each label has a fixed set of values (an enum, a route of the OpenAPI
//! document, a status code), so that requests can't create an unbounded number of series. No label contains
//! personal data. Recording never fails and never waits.

mod auth;
mod http;
mod labels;
mod registry;

use std::time::Duration;

pub use auth::{AuthOutcome, auth_attempt, auth_attempted};
pub use http::{ActiveRequest, UNMATCHED, known_method, request};
pub use labels::{
    AuthMethod, AuthResult, PageLookup, ReadinessCheck, RefreshOutcome, ReplicaMismatch, TokenRejection,
};
use registry::METRICS;

/// The media type of [`render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The values that are read when the metrics are rendered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// The time since the last successful poll of the revocations, in seconds.
    pub revocation_age_secs: f64,
    /// The age of the signing key, in seconds, if there is one.
    pub signing_key_age_secs: Option<f64>,
    /// The size of all cached pages, in bytes.
    pub page_cache_bytes: u64,
    /// Every readiness check, and whether it passes.
    pub ready: [(ReadinessCheck, bool); ReadinessCheck::ALL.len()],
}

/// The use of one pool of database connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// The name of the pool, from a fixed set.
    pub pool: &'static str,
    /// The number of connections in use.
    pub used: u32,
    /// The maximum number of connections.
    pub max: u32,
}

/// Returns all metrics as text.
pub fn render() -> String {
    registry::render()
}

/// Sets the gauges whose values are read when the metrics are rendered.
pub fn set_snapshot(snapshot: &Snapshot) {
    METRICS.revocation_age.set(snapshot.revocation_age_secs);
    METRICS.signing_key_age.set(snapshot.signing_key_age_secs.unwrap_or(f64::NAN));
    METRICS.page_cache_bytes.set(i64::try_from(snapshot.page_cache_bytes).unwrap_or(i64::MAX));
    for (check, passes) in snapshot.ready {
        METRICS.ready.with_label_values(&[check.name()]).set(i64::from(passes));
    }
}

/// Sets the use of the pools of database connections.
pub fn set_pools(pools: &[PoolUsage]) {
    for PoolUsage { pool, used, max } in pools {
        METRICS.pool_used.with_label_values(&[pool]).set(i64::from(*used));
        METRICS.pool_max.with_label_values(&[pool]).set(i64::from(*max));
    }
}

/// Sets whether a mismatch of this kind with another server on the same database was found.
pub fn set_replica_mismatch(kind: ReplicaMismatch, is_found: bool) {
    METRICS.replica_mismatch.with_label_values(&[kind.name()]).set(i64::from(is_found));
}

/// Records that a connection was opened.
pub fn connection_opened() {
    METRICS.connections.inc();
    METRICS.connections_total.inc();
}

/// Records that a connection ended.
pub fn connection_closed() {
    METRICS.connections.dec();
}

/// Records that a connection or its request was refused because too many connections were open.
pub fn connection_refused() {
    METRICS.connections_refused.inc();
}

/// Records that an access token was minted.
pub fn token_minted() {
    METRICS.tokens_minted.inc();
}

/// Records that an access token was rejected.
pub fn token_rejected(reason: TokenRejection) {
    METRICS.tokens_rejected.with_label_values(&[reason.name()]).inc();
}

/// Records the result of a refresh.
pub fn refreshed(outcome: RefreshOutcome) {
    METRICS.refreshes.with_label_values(&[outcome.name()]).inc();
}

/// Records that an attempt or a request was throttled. `scope` is the name of the limit, from a fixed set.
pub fn throttled(scope: &'static str) {
    METRICS.throttled.with_label_values(&[scope]).inc();
}

/// Records that a password was admitted to the queue of the hashing threads.
pub fn hash_queued() {
    METRICS.hash_queue.inc();
}

/// Records that a password left the queue of the hashing threads, whether or not it was hashed.
pub fn hash_left() {
    METRICS.hash_queue.dec();
}

/// Records how long a password waited for a hashing thread.
pub fn hash_waited(wait: Duration) {
    METRICS.hash_wait.observe(wait.as_secs_f64());
}

/// Records how long a password hash took.
pub fn hashed(took: Duration) {
    METRICS.hash_duration.observe(took.as_secs_f64());
}

/// Records that the queue of the hashing threads was full.
pub fn hash_rejected() {
    METRICS.hash_rejected.inc();
}

/// Records a write: its duration, including the wait for SQLite's writer, and whether its transaction was
/// committed.
pub fn wrote(took: Duration, is_committed: bool) {
    let result = if is_committed { "committed" } else { "failed" };
    METRICS.writes.with_label_values(&[result]).observe(took.as_secs_f64());
}

/// Records a batch of functions that SQLite's writer has run: their number, and the duration, including the COMMIT. The
/// writer runs a batch in one transaction or, if that fails, each function in a transaction of its own.
pub fn committed(functions: usize, took: Duration) {
    METRICS.batch_size.observe(u32::try_from(functions).unwrap_or(u32::MAX).into());
    METRICS.batch_duration.observe(took.as_secs_f64());
}

/// Records the result of one operation of an offline app. `status` is from a fixed set.
pub fn synced(status: &'static str) {
    METRICS.sync_operations.with_label_values(&[status]).inc();
}

/// Records that a page of trips was looked up in the cache.
pub fn page_looked_up(result: PageLookup) {
    METRICS.page_lookups.with_label_values(&[result.name()]).inc();
}

/// Sets the number of waiting mails, the number of failed mails, and the age of the oldest waiting mail.
pub fn set_outbox(waiting: u64, failed: u64, oldest: Duration) {
    let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
    METRICS.outbox.with_label_values(&["waiting"]).set(count(waiting));
    METRICS.outbox.with_label_values(&["failed"]).set(count(failed));
    METRICS.outbox_age.set(oldest.as_secs_f64());
}

/// Records the result of an attempt to send a mail.
pub fn mail_attempted(is_sent: bool) {
    METRICS.mails.with_label_values(&[if is_sent { "sent" } else { "failed" }]).inc();
}

/// Records a finished or failed backup. `at` is the time of the backup in seconds since 1970, or `None` if
/// the backup failed.
pub fn backed_up(at: Option<i64>) {
    METRICS.backups.with_label_values(&[if at.is_some() { "success" } else { "failure" }]).inc();
    if let Some(at) = at {
        METRICS.last_backup.set(at);
    }
}

/// Records an attempt to load the certificate again. `is_valid` is false if the new files are not usable.
pub fn certificate_reloaded(is_valid: bool) {
    METRICS.certificates.with_label_values(&[if is_valid { "success" } else { "failure" }]).inc();
}

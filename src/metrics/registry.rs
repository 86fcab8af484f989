//! The table of all metrics. If this module knows the label values of a series, the series exists from the start
//! with the value 0, so that rates and alerts include the first event. The series of
//! `http_server_request_duration_seconds` begin with their first event.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::labels::{
    AuthMethod, AuthResult, PageLookup, ReadinessCheck, RefreshOutcome, ReplicaMismatch, TokenRejection,
};

/// The upper bounds of the histogram buckets for the durations of requests, in seconds.
const REQUEST_SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// The upper bounds of the histogram buckets for the durations of transactions, in seconds.
const DATABASE_SECONDS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];
/// The upper bounds of the histogram buckets for the durations and waits of password hashes, in seconds.
const HASH_SECONDS: [f64; 10] = [0.005, 0.025, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0];
/// The upper bounds of the histogram buckets for the number of functions in one transaction.
const BATCH_SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The names of the limits that refuse attempts and requests of clients (see `throttle::limits`).
const THROTTLE_SCOPES: [&str; 9] = [
    "account_and_address",
    "device",
    "address",
    "network",
    "account",
    "user",
    "sign_up",
    "mail",
    "passkey_options",
];

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// Every metric.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) requests: HistogramVec,
    pub(super) active_requests: IntGauge,
    pub(super) connections: IntGauge,
    pub(super) connections_total: IntCounter,
    pub(super) connections_refused: IntCounter,
    pub(super) auth_attempts: IntCounterVec,
    pub(super) tokens_minted: IntCounter,
    pub(super) tokens_rejected: IntCounterVec,
    pub(super) refreshes: IntCounterVec,
    pub(super) throttled: IntCounterVec,
    pub(super) hash_queue: IntGauge,
    pub(super) hash_wait: Histogram,
    pub(super) hash_duration: Histogram,
    pub(super) hash_rejected: IntCounter,
    pub(super) writes: HistogramVec,
    pub(super) batch_size: Histogram,
    pub(super) batch_duration: Histogram,
    pub(super) pool_used: IntGaugeVec,
    pub(super) pool_max: IntGaugeVec,
    pub(super) revocation_age: Gauge,
    pub(super) signing_key_age: Gauge,
    pub(super) ready: IntGaugeVec,
    pub(super) replica_mismatch: IntGaugeVec,
    pub(super) page_lookups: IntCounterVec,
    pub(super) page_cache_bytes: IntGauge,
    pub(super) sync_operations: IntCounterVec,
    pub(super) outbox: IntGaugeVec,
    pub(super) outbox_age: Gauge,
    pub(super) mails: IntCounterVec,
    pub(super) backups: IntCounterVec,
    pub(super) last_backup: IntGauge,
    pub(super) certificates: IntCounterVec,
}

/// Creates metrics and adds them to a registry.
struct Builder(Registry);

#[expect(clippy::expect_used, reason = "names, labels and bounds are constants, which a unit test covers")]
impl Builder {
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.expect("the metric is valid");
        self.0.register(Box::new(metric.clone())).expect("the name is unique");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntCounterVec {
        let counters = self.add(IntCounterVec::new(Opts::new(name, help), &[label]));
        for value in values {
            drop(counters.with_label_values(&[value]));
        }
        counters
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str, values: &[&str]) -> IntGaugeVec {
        let gauges = self.add(IntGaugeVec::new(Opts::new(name, help), &[label]));
        for value in values {
            drop(gauges.with_label_values(&[value]));
        }
        gauges
    }

    fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, bounds: &[f64], labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels))
    }
}

impl Metrics {
    #[rustfmt::skip]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn new() -> Self {
        let b = Builder(Registry::new());
        let auth_attempts = b.add(IntCounterVec::new(
            Opts::new("tripgate_auth_attempts_total", "Attempts to authenticate, by method and result."),
            &["method", "result"],
        ));
        for method in AuthMethod::ALL {
            for result in AuthResult::ALL {
                drop(auth_attempts.with_label_values(&[method.name(), result.name()]));
            }
        }
        let writes = b.histograms("tripgate_database_write_duration_seconds",
            "Duration of transactions, including the wait for the writer, by result.", &DATABASE_SECONDS, &["result"]);
        for result in ["committed", "failed"] {
            drop(writes.with_label_values(&[result]));
        }
        let version = env!("CARGO_PKG_VERSION");
        b.gauges("tripgate_build_info", "The version of the server; always 1.", "version", &[version])
            .with_label_values(&[version])
            .set(1);
        b.add(Ok(Process::new()));
        Self {
            requests: b.histograms("http_server_request_duration_seconds",
                "Duration of requests, by method, route and status code.", &REQUEST_SECONDS,
                &["http_request_method", "http_route", "http_response_status_code"]),
            active_requests: b.gauge("http_server_active_requests", "Requests in progress."),
            connections: b.gauge("tripgate_connections", "Open connections."),
            connections_total: b.counter("tripgate_connections_total", "Connections that were opened."),
            connections_refused: b.counter("tripgate_connections_refused_total",
                "Connections and requests that were refused because too many connections were open."),
            auth_attempts,
            tokens_minted: b.counter("tripgate_access_tokens_minted_total", "Access tokens that were minted."),
            tokens_rejected: b.counters("tripgate_access_tokens_rejected_total",
                "Access tokens that were rejected, by reason.", "reason", &TokenRejection::ALL.map(TokenRejection::name)),
            refreshes: b.counters("tripgate_refreshes_total",
                "Refresh tokens that were presented, by outcome.", "outcome", &RefreshOutcome::ALL.map(RefreshOutcome::name)),
            throttled: b.counters("tripgate_throttled_total",
                "Attempts and requests that the throttle refused, by limit.", "scope", &THROTTLE_SCOPES),
            hash_queue: b.gauge("tripgate_password_hash_queue", "Passwords that wait for a hashing thread or are being hashed."),
            hash_wait: b.histogram("tripgate_password_hash_wait_seconds",
                "Time that a password waits for a hashing thread.", &HASH_SECONDS),
            hash_duration: b.histogram("tripgate_password_hash_duration_seconds",
                "Duration of a password hash.", &HASH_SECONDS),
            hash_rejected: b.counter("tripgate_password_hash_rejected_total",
                "Passwords that were not hashed because too many waited."),
            writes,
            batch_size: b.histogram("tripgate_database_commit_functions",
                "Functions that share a transaction of SQLite's writer.", &BATCH_SIZES),
            batch_duration: b.histogram("tripgate_database_commit_duration_seconds",
                "Duration of a transaction of SQLite's writer, including the COMMIT.", &DATABASE_SECONDS),
            pool_used: b.gauges("tripgate_database_connections_used",
                "Database connections in use, by pool.", "pool", &["requests", "searches", "background"]),
            pool_max: b.gauges("tripgate_database_connections_max",
                "Maximum number of database connections, by pool.", "pool", &["requests", "searches", "background"]),
            revocation_age: b.seconds("tripgate_revocation_age_seconds",
                "Time since the revocations were read from the database."),
            signing_key_age: b.seconds("tripgate_signing_key_age_seconds",
                "Time since the key that signs access tokens became active."),
            ready: b.gauges("tripgate_ready",
                "1 if the readiness check passes, otherwise 0, by check.", "check",
                &ReadinessCheck::ALL.map(ReadinessCheck::name)),
            replica_mismatch: b.gauges("tripgate_replica_mismatch",
                "1 if another server on the same database differs from this server, otherwise 0, by kind of difference.", "kind",
                &ReplicaMismatch::ALL.map(ReplicaMismatch::name)),
            page_lookups: b.counters("tripgate_page_cache_lookups_total",
                "Lookups of pages of trips in the cache, by result.", "result", &PageLookup::ALL.map(PageLookup::name)),
            page_cache_bytes: b.gauge("tripgate_page_cache_bytes", "Size of the cached pages of trips."),
            sync_operations: b.counters("tripgate_sync_operations_total",
                "Operations of offline apps, by status.", "status", &["applied", "duplicate", "conflict", "rejected"]),
            outbox: b.gauges("tripgate_outbox_mails", "Mails in the outbox, by state.", "state", &["waiting", "failed"]),
            outbox_age: b.seconds("tripgate_outbox_oldest_age_seconds", "Age of the oldest mail that waits."),
            mails: b.counters("tripgate_mail_attempts_total",
                "Attempts to send a mail, by result.", "result", &["sent", "failed"]),
            backups: b.counters("tripgate_backups_total", "Backups, by result.", "result", &["success", "failure"]),
            last_backup: b.gauge("tripgate_backup_last_success_timestamp_seconds",
                "Time of the last successful backup of this process in seconds since 1970; 0 if there was none."),
            certificates: b.counters("tripgate_certificate_reloads_total",
                "Reloads of the certificate, by result.", "result", &["success", "failure"]),
            registry: b.0,
        }
    }
}

/// The metrics of the process: CPU time, memory, open files, start time.
#[derive(Clone)]
struct Process(std::sync::Arc<ProcessCollector>);

impl Process {
    fn new() -> Self {
        Self(std::sync::Arc::new(ProcessCollector::for_self()))
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&prometheus::core::Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.0.collect()
    }
}

pub(super) fn render() -> String {
    let mut text = String::new();
    let families = METRICS.registry.gather();
    if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
        tracing::warn!(%error, "failed to render the metrics");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_with_known_label_values_are_rendered_before_their_first_event() {
        // S-97
        let text = render();
        for line in [
            "tripgate_auth_attempts_total{method=\"passkey\",result=\"mfa_required\"} ",
            "tripgate_build_info{version=\"",
            "tripgate_ready{check=\"clock\"} ",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}

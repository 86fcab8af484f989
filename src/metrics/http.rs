//! Requests: their duration by method, route and status, and how many are in progress.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use prometheus::Histogram;

use super::registry::METRICS;

/// The value of the route label for requests to unknown paths.
pub const UNMATCHED: &str = "unmatched";

/// The values of the method label. All other methods are recorded as `_OTHER`, as in OpenTelemetry's
/// conventions.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"];

/// The key of a histogram: the memory address and the length of the static text of the route, the index of
/// the method, and the status.
type Key = (usize, usize, usize, u16);

thread_local! {
    /// A cache of the histograms that this thread has used, because a lookup by labels takes longer than
    /// recording a value.
    static HISTOGRAMS: RefCell<HashMap<Key, Histogram>> = RefCell::default();
}

/// Records a finished request. `route` is a template such as `/api/v1/trips/{id}`, or [`UNMATCHED`].
pub fn request(method: &str, route: &'static str, status: u16, took: Duration) {
    let number = number(method);
    let key = (route.as_ptr().addr(), route.len(), number, status);
    HISTOGRAMS.with_borrow_mut(|known| {
        let histogram = known.entry(key).or_insert_with(|| {
            let method = METHODS.get(number).copied().unwrap_or_default();
            METRICS.requests.with_label_values(&[method, route, &status.to_string()])
        });
        histogram.observe(took.as_secs_f64());
    });
}

/// Returns the method, or `_OTHER` if it is not one of the usual methods.
pub fn known_method(method: &str) -> &'static str {
    METHODS.get(number(method)).copied().unwrap_or_default()
}

fn number(method: &str) -> usize {
    METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1)
}

/// A request in progress, counted until this value is dropped.
#[derive(Debug)]
pub struct ActiveRequest(());

impl ActiveRequest {
    /// Counts a request as in progress.
    pub fn begin() -> Self {
        METRICS.active_requests.inc();
        Self(())
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        METRICS.active_requests.dec();
    }
}

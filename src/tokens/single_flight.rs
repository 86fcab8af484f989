//! Shares one query between all concurrent callers. Only one query runs at a time.
//!
//! If a call arrives while a query runs, the call waits for a query that starts later, because the running
//! query may have missed a recent change. If a query fails, every call that arrived before the end of this
//! query fails, so that waiting calls don't each wait for another timeout.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// Runs one query at a time, and shares the result between the waiting calls.
#[derive(Debug)]
pub(super) struct SingleFlight {
    /// The maximum duration of a query.
    timeout: Duration,
    last: Mutex<Option<Flight>>,
}

/// A finished query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    started_at: Instant,
    ended_at: Instant,
    pub(super) succeeded: bool,
}

impl SingleFlight {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, last: Mutex::const_new(None) }
    }

    /// Runs `query`. If another call starts a query after this call has begun, returns the result of that
    /// query instead. Waits until `min_interval` has passed since the start of the last query.
    pub(super) async fn run<E: std::error::Error>(
        &self,
        min_interval: Duration,
        query: impl Future<Output = Result<(), E>>,
    ) -> Flight {
        let called_at = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(flight) = *last {
            if (if flight.succeeded { flight.started_at } else { flight.ended_at }) >= called_at {
                return flight;
            }
            tokio::time::sleep_until((flight.started_at + min_interval).into()).await;
        }
        let started_at = Instant::now();
        let succeeded = match tokio::time::timeout(self.timeout, query).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "failed to read what other replicas have changed");
                false
            }
            Err(_) => {
                tracing::debug!(timeout = ?self.timeout, "timed out reading what other replicas have changed");
                false
            }
        };
        let flight = Flight { started_at, ended_at: Instant::now(), succeeded };
        *last = Some(flight);
        flight
    }
}

//! Tracks whether the in-memory keys and revocations are fresh enough to use.
//!
//! They are polled twice a second. After [`MAX_STALENESS`] without a successful poll, every request polls
//! first and fails with a retryable error if the database is unavailable. A replica without its database must
//! not accept tokens that another replica has revoked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::single_flight::{Flight, SingleFlight};

/// How long the result of the last successful poll is trusted.
const MAX_STALENESS: Duration = Duration::from_secs(10);
/// The maximum duration of a poll.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Freshness {
    max_staleness: Duration,
    polls: SingleFlight,
    stale: AtomicBool,
    last_success: Mutex<Instant>,
}

impl Freshness {
    /// Creates a fresh state; call it right after a successful poll.
    pub(super) fn new() -> Self {
        Self::with_limits(MAX_STALENESS, POLL_TIMEOUT)
    }

    fn with_limits(max_staleness: Duration, timeout: Duration) -> Self {
        Self {
            max_staleness,
            polls: SingleFlight::new(timeout),
            stale: AtomicBool::new(false),
            last_success: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Polls, unless another call polls after this call. Returns `false` if the poll failed.
    pub(super) async fn refresh<E: std::error::Error>(
        &self,
        poll: impl Future<Output = Result<(), E>>,
    ) -> bool {
        let Flight { succeeded, started_at, .. } = self.polls.run(Duration::ZERO, poll).await;
        self.record(succeeded, started_at);
        succeeded
    }

    fn record(&self, succeeded: bool, started_at: Instant) {
        let mut last_success = self.last_success.lock().unwrap_or_else(PoisonError::into_inner);
        if succeeded {
            *last_success = started_at.max(*last_success);
        }
        let stale = last_success.elapsed() >= self.max_staleness;
        if self.stale.swap(stale, Ordering::Relaxed) != stale {
            if stale {
                tracing::warn!("can't read the revocations; every request now polls the database first");
            } else {
                tracing::info!("can read the revocations again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::io;

    use super::*;

    const MAX_STALENESS: Duration = Duration::from_millis(400);

    async fn succeeds(freshness: &Freshness) -> bool {
        freshness.refresh(ready(Ok::<_, Infallible>(()))).await
    }

    async fn fails(freshness: &Freshness) -> bool {
        freshness.refresh(ready(Err(io::Error::other("unavailable")))).await
    }

    #[tokio::test]
    async fn the_state_becomes_stale_after_the_maximum_and_fresh_after_a_success() {
        let freshness = Freshness::with_limits(MAX_STALENESS, POLL_TIMEOUT);
        let start = Instant::now();
        while !freshness.is_stale() {
            let before = start.elapsed();
            assert!(!fails(&freshness).await);
            assert!(before < MAX_STALENESS || freshness.is_stale());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(start.elapsed() >= MAX_STALENESS, "became stale too early");
        assert!(!fails(&freshness).await);
        assert!(succeeds(&freshness).await && !freshness.is_stale());
        assert!(
            !fails(&freshness).await && !freshness.is_stale(),
            "one failure after a success must not make it stale"
        );
    }

    #[tokio::test]
    async fn a_poll_without_a_response_times_out() {
        let freshness = Freshness::with_limits(Duration::ZERO, Duration::from_millis(20));
        assert!(!freshness.refresh(pending::<io::Result<()>>()).await);
        assert!(freshness.is_stale());
    }

    #[tokio::test]
    async fn a_call_during_a_poll_shares_only_a_later_poll() {
        let freshness = Freshness::with_limits(MAX_STALENESS, POLL_TIMEOUT);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(())
        };
        // The second call arrives during the first poll, which may miss a revocation committed in between.
        let (first, second) = tokio::join!(freshness.refresh(slow), fails(&freshness));
        assert!(first && !second);
    }
}

//! Tracks whether the in-memory keys and revocations are fresh enough to use.
//!
//! The server polls the keys and the revocations every 300 milliseconds. A token is accepted only if the last
//! successful poll began at most [`MAX_AGE`] ago, because another replica may have revoked the token after
//! the poll. If the poll is older, for example because the database was unavailable or the process was
//! suspended, the request polls first. All waiting requests share this poll. If the poll fails, these
//! requests fail with a retryable error.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::single_flight::SingleFlight;
use crate::clock::Clock;

/// The maximum age of a poll. A revocation must take effect within a second, and the remaining 100
/// milliseconds are for the response.
const MAX_AGE: Duration = Duration::from_millis(900);
/// The maximum duration of a poll.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Freshness {
    clock: Clock,
    polls: SingleFlight,
    /// When the last successful poll began, in nanoseconds of the monotonic clock.
    polled_at: AtomicU64,
    /// Whether a warning was logged because polls fail. The next successful poll sets this value to false.
    is_reported: AtomicBool,
}

/// When a poll began, in nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolledAt(u64);

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Freshness {
    /// Creates the state after a successful poll that began at `polled_at`.
    pub(super) fn new(clock: Clock, polled_at: Duration) -> Self {
        Self::with_timeout(clock, polled_at, POLL_TIMEOUT)
    }

    fn with_timeout(clock: Clock, polled_at: Duration, timeout: Duration) -> Self {
        Self {
            clock,
            polls: SingleFlight::new(timeout),
            polled_at: AtomicU64::new(nanos(polled_at)),
            is_reported: AtomicBool::new(false),
        }
    }

    /// Returns when the last successful poll began.
    pub(super) fn polled_at(&self) -> PolledAt {
        PolledAt(self.polled_at.load(Ordering::Acquire))
    }

    /// Returns true if a decision based on the result of this poll is still valid. Read `polled_at` before
    /// the decision, and call this function after the decision, because the process can be suspended at any
    /// moment.
    pub(super) fn is_fresh(&self, polled_at: PolledAt) -> bool {
        nanos(self.clock.monotonic()).saturating_sub(polled_at.0) <= nanos(MAX_AGE)
    }

    /// Returns the time since the last successful poll began.
    pub(super) fn age(&self) -> Duration {
        let polled_at = self.polled_at.load(Ordering::Acquire);
        Duration::from_nanos(nanos(self.clock.monotonic()).saturating_sub(polled_at))
    }

    /// Returns whether polls have failed for so long that no token is accepted.
    pub(super) fn is_failing(&self) -> bool {
        self.is_reported.load(Ordering::Relaxed)
    }

    /// Polls the keys and the revocations. If another call starts a poll after this call has begun, waits for
    /// that poll instead. Returns `false` if the poll failed.
    pub(super) async fn refresh<E: std::error::Error>(
        &self,
        poll: impl Future<Output = Result<(), E>>,
    ) -> bool {
        let timed = async {
            // Read the time before the poll: its result may lack a revocation that is committed while the
            // poll runs.
            let began_at = nanos(self.clock.monotonic());
            poll.await?;
            self.polled_at.fetch_max(began_at, Ordering::AcqRel);
            Ok::<(), E>(())
        };
        let succeeded = self.polls.run(Duration::ZERO, timed).await.succeeded;
        self.report(succeeded);
        succeeded
    }

    fn report(&self, succeeded: bool) {
        if !succeeded && self.is_fresh(self.polled_at()) {
            return;
        }
        if self.is_reported.swap(!succeeded, Ordering::Relaxed) == succeeded {
            if succeeded {
                tracing::info!("the revocations can be read again; requests with a token no longer get 503");
            } else {
                tracing::warn!(
                    "failed to read the revocations within {} s: the database is unavailable or too slow; \
                     requests with a token get 503 until a read succeeds",
                    POLL_TIMEOUT.as_secs()
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{pending, ready};
    use std::io;

    use chrono::TimeDelta;

    use super::*;
    use crate::clock::from_millis;

    fn start() -> (Clock, Freshness) {
        let clock = Clock::fixed(from_millis(0));
        let freshness = Freshness::with_timeout(clock.clone(), clock.monotonic(), Duration::from_millis(20));
        (clock, freshness)
    }

    fn is_fresh(freshness: &Freshness) -> bool {
        freshness.is_fresh(freshness.polled_at())
    }

    async fn succeeds(freshness: &Freshness) -> bool {
        freshness.refresh(ready(Ok::<_, Infallible>(()))).await
    }

    async fn fails(freshness: &Freshness) -> bool {
        freshness.refresh(ready(Err(io::Error::other("unavailable")))).await
    }

    #[tokio::test]
    async fn the_result_of_a_poll_is_fresh_for_less_than_a_second() {
        // F-2, S-107
        let (clock, freshness) = start();
        clock.advance(TimeDelta::milliseconds(900));
        assert!(!fails(&freshness).await && is_fresh(&freshness));
        clock.advance(TimeDelta::milliseconds(1));
        assert!(!is_fresh(&freshness));
        assert!(succeeds(&freshness).await && is_fresh(&freshness));
        assert!(!fails(&freshness).await && is_fresh(&freshness), "a failed poll changes nothing");
    }

    #[tokio::test]
    async fn a_jump_of_the_system_clock_does_not_change_the_age_of_a_poll() {
        //
        let (clock, freshness) = start();
        clock.advance(TimeDelta::milliseconds(901));
        clock.jump(TimeDelta::days(-1));
        assert!(!is_fresh(&freshness));
        assert!(succeeds(&freshness).await && is_fresh(&freshness));
        clock.jump(TimeDelta::days(2));
        assert!(is_fresh(&freshness));
    }

    #[tokio::test]
    async fn the_age_of_a_poll_is_measured_from_its_start() {
        // F-8
        let (clock, freshness) = start();
        let slow = async {
            clock.advance(TimeDelta::seconds(12));
            Ok::<_, Infallible>(())
        };
        assert!(freshness.refresh(slow).await);
        assert!(!is_fresh(&freshness), "the process was stopped during the poll");
    }

    #[tokio::test]
    async fn a_decision_that_is_based_on_an_older_poll_is_not_fresh() {
        // F-8
        let (clock, freshness) = start();
        let before = freshness.polled_at();
        clock.advance(TimeDelta::seconds(12));
        assert!(succeeds(&freshness).await);
        assert!(!freshness.is_fresh(before));
    }

    #[tokio::test]
    async fn a_poll_without_a_response_times_out() {
        let (_, freshness) = start();
        assert!(!freshness.refresh(pending::<io::Result<()>>()).await);
    }

    #[tokio::test]
    async fn a_call_that_arrives_during_a_poll_does_not_use_the_result_of_that_poll() {
        let clock = Clock::fixed(from_millis(0));
        let freshness = Freshness::new(clock.clone(), clock.monotonic());
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(())
        };
        // The second call arrives during the first poll. This poll may miss a revocation that was committed
        // before the second call.
        let (first, second) = tokio::join!(freshness.refresh(slow), fails(&freshness));
        assert!(first && !second);
    }
}

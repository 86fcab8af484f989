//! Whether what is remembered of the database may be trusted.
//!
//! It is read anew twice a second. When that has failed for [`MAX_STALENESS`], every request asks first,
//! and is told to come again if there is no answer: a replica that is cut off must not go on letting
//! in whom another one has shut out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::single_flight::{Flight, SingleFlight};

/// For how long what was read last is trusted.
const MAX_STALENESS: Duration = Duration::from_secs(10);
/// For how long one reading may take.
pub(super) const POLL_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Freshness {
    trusted: Duration,
    readings: SingleFlight,
    stale: AtomicBool,
    last_good: Mutex<Instant>,
}

impl Freshness {
    /// Everything was read just now.
    pub(super) fn new() -> Self {
        Self::within(MAX_STALENESS, POLL_TIMEOUT)
    }

    fn within(trusted: Duration, timeout: Duration) -> Self {
        Self {
            trusted,
            readings: SingleFlight::new(timeout),
            stale: AtomicBool::new(false),
            last_good: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Reads anew, unless somebody else did so since we asked; `false` if that failed.
    pub(super) async fn renew<E: std::error::Error>(
        &self,
        read: impl Future<Output = Result<(), E>>,
    ) -> bool {
        let Flight { worked, began, .. } = self.readings.share(Duration::ZERO, read).await;
        self.note(worked, began);
        worked
    }

    fn note(&self, worked: bool, began: Instant) {
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        if worked {
            *last_good = began.max(*last_good);
        }
        let stale = last_good.elapsed() >= self.trusted;
        if self.stale.swap(stale, Ordering::Relaxed) != stale {
            if stale {
                tracing::warn!("what was revoked can't be read: every request asks the database from now on");
            } else {
                tracing::info!("what was revoked can be read again");
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

    async fn works(freshness: &Freshness) -> bool {
        freshness.renew(ready(Ok::<_, Infallible>(()))).await
    }

    async fn fails(freshness: &Freshness) -> bool {
        freshness.renew(ready(Err(io::Error::other("away")))).await
    }

    #[tokio::test]
    async fn what_was_read_is_trusted_for_a_while_and_not_beyond() {
        let freshness = Freshness::within(MAX_STALENESS, POLL_TIMEOUT);
        let begin = Instant::now();
        while !freshness.is_stale() {
            let before = begin.elapsed();
            assert!(!fails(&freshness).await);
            assert!(before < MAX_STALENESS || freshness.is_stale());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(begin.elapsed() >= MAX_STALENESS, "one failure is no outage");
        assert!(!fails(&freshness).await);
        assert!(works(&freshness).await && !freshness.is_stale());
        assert!(!fails(&freshness).await && !freshness.is_stale(), "it is trusted anew");
    }

    #[tokio::test]
    async fn who_gets_no_answer_does_not_wait_for_ever() {
        let freshness = Freshness::within(Duration::ZERO, Duration::from_millis(20));
        assert!(!freshness.renew(pending::<io::Result<()>>()).await);
        assert!(freshness.is_stale());
    }

    #[tokio::test]
    async fn who_asks_while_it_is_read_is_answered_only_by_what_was_read_since() {
        let freshness = Freshness::within(MAX_STALENESS, POLL_TIMEOUT);
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, Infallible>(())
        };
        // The second one asks when the first reading has begun: what was revoked in between it may miss.
        let (first, second) = tokio::join!(freshness.renew(slow), fails(&freshness));
        assert!(first && !second);
    }
}

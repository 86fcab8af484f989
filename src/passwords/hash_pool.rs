//! The threads that hash passwords, and the limit of their queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::metrics;
use crate::thread_priority::LowPriorityThreads;

/// Estimated nanoseconds per round of bcrypt, which has 2^cost rounds. Used until a hash has been measured.
const INITIAL_ROUND_NANOS: u64 = 65_000;

/// The expected wait for a hash is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be hashed")]
pub struct Overloaded {
    /// Seconds after which to retry.
    pub retry_after_secs: u64,
}

#[derive(Clone, Debug)]
pub(super) struct HashPool {
    threads: LowPriorityThreads,
    load: Arc<Load>,
}

/// The load of the queue.
#[derive(Debug)]
struct Load {
    /// Number of admitted jobs that have not finished.
    pending: AtomicUsize,
    /// Moving average of the duration of a hash, in nanoseconds.
    hash_nanos: AtomicU64,
    threads: u32,
    max_wait: Duration,
}

impl HashPool {
    pub(super) fn start(cost: u32, max_wait: Duration) -> Self {
        let threads = u32::try_from(thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
        let estimate = INITIAL_ROUND_NANOS << cost;
        let load =
            Load { pending: AtomicUsize::new(0), hash_nanos: AtomicU64::new(estimate), threads, max_wait };
        Self { threads: LowPriorityThreads::start("hash", threads as usize), load: Arc::new(load) }
    }

    /// Runs `hash` on one of the threads.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the expected or the actual wait exceeds the limit, or if `hash` panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let slot = self.load.admit()?;
        let queued = Instant::now();
        let hashed = self.threads.run(move || {
            let started = Instant::now();
            metrics::hash_waited(started - queued);
            let hashed = hash();
            let took = started.elapsed();
            metrics::hashed(took);
            slot.load.record_duration(took);
            drop(slot);
            hashed
        });
        // Limit the wait even if other work slows the machine down. The threads skip the hash of a caller
        // that has timed out.
        let timeout = self.load.max_wait + self.load.max_wait / 4;
        match tokio::time::timeout(timeout, hashed).await {
            Ok(hashed) => hashed.map_err(|_| Overloaded { retry_after_secs: 1 }),
            Err(_) => Err(Overloaded { retry_after_secs: self.load.max_wait.as_secs().max(1) }),
        }
    }
}

impl Load {
    /// Reserves a slot in the queue, or returns when to retry. The expected wait includes the caller's own
    /// hash.
    fn admit(self: &Arc<Self>) -> Result<Slot, Overloaded> {
        let ahead = self.pending.fetch_add(1, Ordering::Relaxed);
        let slot = Slot { load: Arc::clone(self) };
        metrics::hash_queued();
        let wait = self.expected_wait(ahead);
        if ahead >= self.threads as usize && wait > self.max_wait {
            metrics::hash_rejected();
            return Err(Overloaded { retry_after_secs: wait.as_secs().max(1) });
        }
        Ok(slot)
    }

    fn expected_wait(&self, ahead: usize) -> Duration {
        let hash = Duration::from_nanos(self.hash_nanos.load(Ordering::Relaxed));
        let rounds = u32::try_from(ahead).unwrap_or(u32::MAX) / self.threads + 1;
        hash.saturating_mul(rounds)
    }

    fn record_duration(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.hash_nanos.load(Ordering::Relaxed);
        // If two threads store at the same time, one of the two samples is lost, which is harmless.
        self.hash_nanos.store(before - before / 4 + took / 4, Ordering::Relaxed);
    }
}

/// A slot in the queue, released when dropped.
struct Slot {
    load: Arc<Load>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.pending.fetch_sub(1, Ordering::Relaxed);
        metrics::hash_left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_that_would_wait_longer_than_the_limit_are_rejected_immediately() {
        // S-74
        let pool = HashPool::start(12, Duration::from_millis(800));
        let slow = || thread::sleep(Duration::from_millis(200));
        let waiting: Vec<_> = (0..40)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let started = Instant::now();
                    (pool.run(slow).await, started.elapsed())
                })
            })
            .collect();
        let (mut completed, mut rejected) = (0, 0);
        for one in waiting {
            match one.await.unwrap() {
                (Ok(()), took) => {
                    assert!(took < Duration::from_millis(1040), "waited {took:?}");
                    completed += 1;
                }
                (Err(overloaded), took) => {
                    assert!(took < Duration::from_millis(100), "rejected after {took:?}");
                    assert!(overloaded.retry_after_secs >= 1);
                    rejected += 1;
                }
            }
        }
        assert!(completed >= 2 && rejected >= 10, "{completed} completed, {rejected} rejected");
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_in_a_job_does_not_end_the_thread_of_the_pool() {
        let pool = HashPool::start(4, Duration::from_secs(5));
        for _ in 0..pool.load.threads * 2 {
            assert!(pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await.is_err());
        }
        pool.run(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_job_of_a_cancelled_caller_does_not_run_and_releases_its_place() {
        let pool = HashPool::start(4, Duration::from_secs(1));
        let threads = pool.load.threads as usize;
        let blocked: Vec<_> = (0..threads)
            .map(|_| {
                tokio::spawn({
                    let pool = pool.clone();
                    async move { pool.run(|| thread::sleep(Duration::from_millis(100))).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let cancelled = tokio::time::timeout(
            Duration::from_millis(1),
            pool.run(|| panic!("the job of a cancelled caller ran")),
        )
        .await;
        assert!(cancelled.is_err());
        for one in blocked {
            one.await.unwrap().unwrap();
        }
        pool.run(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }
}

//! The hashing threads and the queue in front of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Nanoseconds that one round of bcrypt's 2^cost takes, before anything was measured.
const FIRST_GUESS: u64 = 65_000;
/// The niceness of the hashing threads: whatever else wants a core has it first.
const NICE: i32 = 19;

/// The queue is as long as callers may be made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords wait to be hashed")]
pub struct Overloaded {
    /// When it is worth trying again, in whole seconds.
    pub retry_after_secs: u64,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Clone, Debug)]
pub(super) struct HashPool {
    queue: mpsc::Sender<Job>,
    load: Arc<Load>,
}

/// What is known of the queue.
#[derive(Debug)]
struct Load {
    /// Admitted and not done.
    pending: AtomicUsize,
    /// A moving average of what one hash takes on its thread.
    hash_nanos: AtomicU64,
    threads: u32,
    max_wait: Duration,
}

impl HashPool {
    pub(super) fn start(cost: u32, max_wait: Duration) -> Self {
        let threads = u32::try_from(thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
        let guess = FIRST_GUESS << cost;
        let load =
            Load { pending: AtomicUsize::new(0), hash_nanos: AtomicU64::new(guess), threads, max_wait };
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            let started = thread::Builder::new().name(format!("hash-{number}")).spawn(move || work(&jobs));
            if let Err(error) = started {
                tracing::error!(%error, "a hashing thread can't be started");
            }
        }
        Self { queue, load: Arc::new(load) }
    }

    /// Runs `hash` on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let place = self.load.admit()?;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody waits for it any more: the time is better spent on the next one.
            if reply.is_closed() {
                return;
            }
            let started = Instant::now();
            let hashed = hash();
            place.load.learn(started.elapsed());
            drop(place);
            drop(reply.send(hashed));
        });
        let lost = Overloaded { retry_after_secs: 1 };
        self.queue.send(job).map_err(|_| lost)?;
        // Whatever else the machine does meanwhile, nobody waits longer than was promised: a job
        // whose caller is gone is passed over.
        let promised = self.load.max_wait + self.load.max_wait / 4;
        match tokio::time::timeout(promised, answer).await {
            Ok(answered) => answered.map_err(|_| lost),
            Err(_) => Err(Overloaded { retry_after_secs: self.load.max_wait.as_secs().max(1) }),
        }
    }
}

impl Load {
    /// Takes a place in the queue, or tells when one will be free. The wait that counts is until the
    /// own hash is done.
    fn admit(self: &Arc<Self>) -> Result<Place, Overloaded> {
        let ahead = self.pending.fetch_add(1, Ordering::Relaxed);
        let place = Place { load: Arc::clone(self) };
        let wait = self.wait(ahead);
        if ahead >= self.threads as usize && wait > self.max_wait {
            return Err(Overloaded { retry_after_secs: wait.as_secs().max(1) });
        }
        Ok(place)
    }

    fn wait(&self, ahead: usize) -> Duration {
        let one = Duration::from_nanos(self.hash_nanos.load(Ordering::Relaxed));
        let rounds = u32::try_from(ahead).unwrap_or(u32::MAX) / self.threads + 1;
        one.saturating_mul(rounds)
    }

    fn learn(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.hash_nanos.load(Ordering::Relaxed);
        // Two threads that learn at once lose one of the two samples, which does no harm.
        self.hash_nanos.store(before - before / 4 + took / 4, Ordering::Relaxed);
    }
}

/// A place in the queue, given back when dropped.
struct Place {
    load: Arc<Load>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux niceness is each thread's own, and raising it needs no privilege.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "a hashing thread keeps its priority");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic ends one request, not a thread that all of them need. The caller sees that its
            // answer was lost.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(mpsc::RecvError) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_queue_holds_is_turned_away_at_once() {
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
        let (mut served, mut turned_away) = (0, 0);
        for one in waiting {
            match one.await.unwrap() {
                (Ok(()), took) => {
                    assert!(took < Duration::from_millis(1040), "waited {took:?}");
                    served += 1;
                }
                (Err(overloaded), took) => {
                    assert!(took < Duration::from_millis(100), "refused after {took:?}");
                    assert!(overloaded.retry_after_secs >= 1);
                    turned_away += 1;
                }
            }
        }
        assert!(served >= 2 && turned_away >= 10, "{served} served, {turned_away} turned away");
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_no_thread() {
        let pool = HashPool::start(4, Duration::from_secs(5));
        for _ in 0..pool.load.threads * 2 {
            assert!(pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await.is_err());
        }
        pool.run(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn who_went_away_gives_the_place_back() {
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
        let gone =
            tokio::time::timeout(Duration::from_millis(1), pool.run(|| panic!("nobody waits for this")))
                .await;
        assert!(gone.is_err());
        for one in blocked {
            one.await.unwrap().unwrap();
        }
        pool.run(|| ()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(pool.load.pending.load(Ordering::Relaxed), 0);
    }
}

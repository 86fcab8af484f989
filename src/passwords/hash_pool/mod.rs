//! The threads that hash passwords, and the limit of their queue.
//!
//! A thread that becomes idle takes the first job of the queue, and with it further jobs of the same cost, up
//! to a full batch. The expected wait of a job is the duration of a batch, multiplied by the number of rounds
//! until the batch of the job ends. In one round, each thread runs one batch. These rounds are not the rounds
//! of bcrypt.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bcrypt_lanes::{Input, Lane};
use tokio::sync::oneshot;

use super::computation::Computation;
use super::lanes::{self, BATCH_MAX, Job};
use crate::metrics;
use crate::thread_priority::LowPriorityThreads;
use crate::traces::ActiveSpan;

/// Estimated nanoseconds per round of bcrypt, which has 2^cost rounds. Used until a hash has been measured.
const INITIAL_ROUND_NANOS: u64 = 65_000;

/// The expected or the actual wait for a hash exceeds the limit, or the computation of the hash has failed.
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

/// The queue of jobs, and the load of the threads.
struct Load {
    queue: Mutex<Queue>,
    /// Moving average of the duration of a full batch, in nanoseconds.
    batch_nanos: AtomicU64,
    threads: usize,
    max_wait: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn QueuedJob>>,
    /// Number of batches that threads are running now.
    running: usize,
}

impl HashPool {
    pub(super) fn start(cost: u32, max_wait: Duration) -> Self {
        Self::with_threads(thread::available_parallelism().map_or(1, usize::from), cost, max_wait)
    }

    fn with_threads(threads: usize, cost: u32, max_wait: Duration) -> Self {
        let batch_nanos = AtomicU64::new(full_batch_nanos(1, INITIAL_ROUND_NANOS << cost));
        let load = Load { queue: Mutex::default(), batch_nanos, threads, max_wait };
        Self { threads: LowPriorityThreads::start("hash", threads), load: Arc::new(load) }
    }

    /// Runs `computation` on one of the threads.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], if the expected or the actual wait exceeds the limit, or if `computation` panics.
    pub(super) async fn run<C: Computation>(&self, computation: C) -> Result<C::Output, Overloaded> {
        let (reply, result) = oneshot::channel();
        self.load.admit(Request::new(computation, reply))?;
        let _span = ActiveSpan::begin("password hash");
        // Each job submits one call of `run_batch`. If jobs share a batch, a later call can find the queue
        // empty.
        let load = Arc::clone(&self.load);
        if self.threads.submit(move || run_batch(&load)).is_err() {
            self.load.queue().waiting.clear();
        }
        // Limit the wait even if other work slows the machine down. The threads skip the hash of a caller
        // that has timed out.
        let timeout = self.load.max_wait + self.load.max_wait / 4;
        match tokio::time::timeout(timeout, result).await {
            Ok(result) => result.map_err(|_| Overloaded { retry_after_secs: 1 }),
            Err(_) => Err(Overloaded { retry_after_secs: self.load.max_wait.as_secs().max(1) }),
        }
    }
}

fn run_batch(load: &Arc<Load>) {
    lanes::run(load.take_batch());
}

impl Load {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a job to the queue, or returns when to retry. The expected wait includes the job's own batch.
    /// A job that an idle thread can run is always admitted.
    fn admit<C: Computation>(&self, mut job: Request<C>) -> Result<(), Overloaded> {
        let mut queue = self.queue();
        queue.waiting.retain(|job| !job.is_cancelled());
        let costs = queue.waiting.iter().map(|job| job.cost()).chain([job.cost()]);
        let rounds = rounds(queue.running, costs, self.threads);
        let batch = Duration::from_nanos(self.batch_nanos.load(Ordering::Relaxed));
        let wait = batch.saturating_mul(rounds);
        if rounds > 1 && wait > self.max_wait {
            metrics::hash_rejected();
            return Err(Overloaded { retry_after_secs: wait.as_secs().max(1) });
        }
        job.slot = Some(Slot::reserve());
        queue.waiting.push_back(Box::new(job));
        Ok(())
    }

    /// Removes the first job from the queue, and further jobs of its cost. Drops the jobs whose callers have
    /// stopped waiting. Returns no job if none waits.
    fn take_batch(self: &Arc<Self>) -> Vec<Box<dyn QueuedJob>> {
        let mut queue = self.queue();
        queue.waiting.retain(|job| !job.is_cancelled());
        let Some(cost) = queue.waiting.front().map(|job| job.cost()) else { return Vec::new() };
        let mut jobs = Vec::with_capacity(BATCH_MAX);
        for job in std::mem::take(&mut queue.waiting) {
            if jobs.len() < BATCH_MAX && job.cost() == cost {
                jobs.push(job);
            } else {
                queue.waiting.push_back(job);
            }
        }
        queue.running += 1;
        drop(queue);
        let batch = Arc::new(Batch { load: Arc::clone(self), jobs: jobs.len(), started: Instant::now() });
        for job in &mut jobs {
            job.begin(Arc::clone(&batch));
        }
        jobs
    }

    fn record_duration(&self, jobs: usize, took: Duration) {
        let took = full_batch_nanos(jobs, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        let before = self.batch_nanos.load(Ordering::Relaxed);
        // If two threads store at the same time, one of the two samples is lost, which is harmless.
        self.batch_nanos.store(before - before / 4 + took / 4, Ordering::Relaxed);
    }
}

/// Returns how long a full batch takes, if a batch of `jobs` jobs takes `nanos`. Smaller batches take about
/// as long as one hash; a full batch takes an eighth longer. See [`bcrypt_lanes::Lanes::PER_LOOP`] for the
/// measurement.
fn full_batch_nanos(jobs: usize, nanos: u64) -> u64 {
    if jobs < BATCH_MAX { nanos.saturating_add(nanos / 8) } else { nanos }
}

/// Returns the number of rounds until the queue is empty, if `running` threads run batches and jobs of the
/// given costs wait. Jobs share batches with jobs of the same cost. An idle thread can begin with a single
/// job before the next jobs arrive, so one job for each idle thread is counted as a batch of its own.
fn rounds(running: usize, costs: impl Iterator<Item = u32>, threads: usize) -> u32 {
    let mut waiting = BTreeMap::<u32, usize>::new();
    costs.skip(threads.saturating_sub(running)).for_each(|cost| *waiting.entry(cost).or_default() += 1);
    let batches: usize = waiting.values().map(|jobs| jobs.div_ceil(BATCH_MAX)).sum();
    u32::try_from(1 + batches.div_ceil(threads)).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// A running batch. It ends when its last job drops it.
struct Batch {
    load: Arc<Load>,
    jobs: usize,
    started: Instant,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.load.record_duration(self.jobs, self.started.elapsed());
        self.load.queue().running -= 1;
    }
}

/// A place among the admitted jobs that have not ended. A metric counts these places.
struct Slot;

impl Slot {
    fn reserve() -> Self {
        metrics::hash_queued();
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        metrics::hash_left();
    }
}

/// A computation for a caller that waits for the result.
///
/// The batch and the slot are released before the caller has a result or an error, so that the caller's next
/// job is not rejected because of this job. Rust drops the fields in the order of their declaration.
struct Request<C: Computation> {
    /// `None` while the job waits.
    batch: Option<Arc<Batch>>,
    slot: Option<Slot>,
    reply: Option<oneshot::Sender<C::Output>>,
    queued: Instant,
    computation: C,
}

impl<C: Computation> Request<C> {
    fn new(computation: C, reply: oneshot::Sender<C::Output>) -> Self {
        Self { batch: None, slot: None, reply: Some(reply), queued: Instant::now(), computation }
    }

    fn finish(&mut self, output: C::Output) {
        if let Some(batch) = self.batch.take() {
            metrics::hashed(batch.started.elapsed());
        }
        self.slot = None;
        if let Some(reply) = self.reply.take() {
            drop(reply.send(output));
        }
    }
}

/// A job in the queue.
trait QueuedJob: Job {
    /// Returns whether the caller has stopped waiting.
    fn is_cancelled(&self) -> bool;

    /// Records that the job has left the queue.
    fn begin(&mut self, batch: Arc<Batch>);
}

impl<C: Computation> QueuedJob for Request<C> {
    fn is_cancelled(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    fn begin(&mut self, batch: Arc<Batch>) {
        metrics::hash_waited(batch.started - self.queued);
        self.batch = Some(batch);
    }
}

impl<C: Computation> Job for Request<C> {
    fn cost(&self) -> u32 {
        self.computation.cost()
    }

    fn run_alone(&mut self) {
        let output = self.computation.run_alone();
        self.finish(output);
    }

    fn input(&self) -> Input<'_> {
        self.computation.input()
    }

    fn check(&mut self, cost: u32, lane: &Lane) -> bool {
        let output = self.computation.check(cost, lane);
        output.map(|output| self.finish(output)).is_some()
    }
}

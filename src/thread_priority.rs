//! Lowers the priority of threads that do long work, so that short requests are not delayed, even on one
//! core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::oneshot;

/// The highest niceness: the scheduler prefers all other threads.
const NICE: i32 = 19;

/// Gives the calling thread the lowest priority, permanently. On Linux, each thread has its own niceness, and
/// a thread needs no privilege to raise its niceness.
pub fn lower() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "failed to lower the priority of a thread");
    }
}

/// The work panicked, or no thread could be started.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the background thread ended before it finished its work")]
pub struct Unfinished;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of the lowest priority, and their queue. The threads end when all clones are dropped.
#[derive(Clone, Debug)]
pub struct LowPriorityThreads {
    queue: mpsc::Sender<Job>,
}

impl LowPriorityThreads {
    /// Starts `count` threads, whose names begin with `name`.
    pub fn start(name: &str, count: usize) -> Self {
        let (queue, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..count {
            let jobs = Arc::clone(&jobs);
            let started =
                thread::Builder::new().name(format!("{name}-{number}")).spawn(move || run_jobs(&jobs));
            if let Err(error) = started {
                tracing::error!(%error, name, "failed to start a thread");
            }
        }
        Self { queue }
    }

    /// Runs `work` on one of the threads. Skips the work if the caller stops waiting before the work begins.
    ///
    /// # Errors
    ///
    /// [`Unfinished`].
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let (reply, result) = oneshot::channel();
        self.submit(move || {
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
        })?;
        result.await.map_err(|_| Unfinished)
    }

    /// Queues `work` for one of the threads, without waiting for it.
    ///
    /// # Errors
    ///
    /// [`Unfinished`], if no thread could be started.
    pub fn submit(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Unfinished> {
        self.queue.send(Box::new(work)).map_err(|_| Unfinished)
    }
}

fn run_jobs(jobs: &Mutex<mpsc::Receiver<Job>>) {
    lower();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic ends the job but not the thread. The caller gets an error, because the panic drops the
            // sender of the reply.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(mpsc::RecvError) => return,
        }
    }
}

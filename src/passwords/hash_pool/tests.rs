//! Tests of the queue, with computations that record how they run.

use std::sync::mpsc;

use tokio::task::JoinHandle;

use super::*;

/// How a computation ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Alone,
    InLane,
}

enum Action {
    Nothing,
    Panic,
    /// Takes 200 ms alone, and 50 ms in a lane. A full batch of four lanes therefore takes 200 ms too.
    Sleep,
    /// Sends a message when the job starts, and then waits for a message.
    Block(mpsc::Sender<()>, mpsc::Receiver<()>),
}

struct Probe(u32, Action);

impl Probe {
    fn act(&self, sleep: Duration) {
        match &self.1 {
            Action::Nothing => {}
            Action::Panic => std::panic::resume_unwind(Box::new("on purpose")),
            Action::Sleep => thread::sleep(sleep),
            Action::Block(started, release) => {
                started.send(()).unwrap();
                release.recv().unwrap();
            }
        }
    }
}

impl Computation for Probe {
    type Output = Ran;

    fn cost(&self) -> u32 {
        self.0
    }

    fn run_alone(&self) -> Ran {
        self.act(Duration::from_millis(200));
        Ran::Alone
    }

    fn input(&self) -> Input<'_> {
        Input { password: b"password", salt: [7; 16] }
    }

    fn check(&self, cost: u32, _: &Lane) -> Option<Ran> {
        (cost == self.0).then(|| {
            self.act(Duration::from_millis(50));
            Ran::InLane
        })
    }
}

/// Starts a pool of one thread. The thread runs a job until the returned sender sends a message.
async fn blocked() -> (HashPool, mpsc::Sender<()>, JoinHandle<Result<Ran, Overloaded>>) {
    let pool = HashPool::with_threads(1, 4, Duration::from_mins(1));
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let job = spawn(&pool, Probe(4, Action::Block(started, released)));
    tokio::task::yield_now().await;
    has_started.recv().unwrap();
    (pool, release, job)
}

fn spawn(pool: &HashPool, probe: Probe) -> JoinHandle<Result<Ran, Overloaded>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.run(probe).await })
}

fn assert_idle(pool: &HashPool) {
    let queue = pool.load.queue();
    assert_eq!((queue.waiting.len(), queue.running), (0, 0));
}

#[tokio::test]
async fn jobs_beyond_the_wait_limit_are_rejected_immediately() {
    // S-74
    // The pool estimates 1.2 seconds for a batch. A batch takes 0.2 seconds.
    let pool = HashPool::with_threads(2, 14, Duration::from_secs(3));
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let started = Instant::now();
                (pool.run(Probe(4, Action::Sleep)).await, started.elapsed())
            })
        })
        .collect();
    let (mut completed, mut rejected) = (0, 0);
    for one in waiting {
        match one.await.unwrap() {
            (Ok(_), took) => {
                assert!(took < Duration::from_millis(3900), "waited {took:?}");
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
    assert_idle(&pool);
}

#[tokio::test]
async fn waiting_jobs_share_lanes_and_a_single_job_runs_alone() {
    let (pool, release, first) = blocked().await;
    let waiting: Vec<_> = (0..6).map(|_| spawn(&pool, Probe(5, Action::Nothing))).collect();
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(Ran::Alone));
    for job in waiting {
        assert_eq!(job.await.unwrap(), Ok(Ran::InLane));
    }
    assert_idle(&pool);
    assert_eq!(pool.run(Probe(5, Action::Nothing)).await, Ok(Ran::Alone));
}

#[tokio::test]
async fn a_panic_in_a_lane_fails_only_its_own_job() {
    let (pool, release, first) = blocked().await;
    let jobs: Vec<_> = [Action::Panic, Action::Nothing, Action::Nothing]
        .into_iter()
        .map(|action| spawn(&pool, Probe(4, action)))
        .collect();
    tokio::task::yield_now().await;
    release.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(Ran::Alone));
    let mut results = Vec::new();
    for job in jobs {
        results.push(job.await.unwrap());
    }
    let failed = Err(Overloaded { retry_after_secs: 1 });
    assert_eq!(results, [failed, Ok(Ran::InLane), Ok(Ran::InLane)]);
    assert_idle(&pool);
    assert_eq!(pool.run(Probe(4, Action::Nothing)).await, Ok(Ran::Alone));
}

#[test]
fn a_batch_takes_the_oldest_waiting_jobs_of_the_same_cost() {
    let load = load(Duration::from_mins(1));
    let mut results: Vec<_> = [5, 6, 5, 5, 6, 5, 5, 5].map(|cost| admit(&load, cost).unwrap()).into();
    // The third caller stops waiting.
    drop(results.remove(2));
    let batches: Vec<Vec<u32>> = std::iter::from_fn(|| {
        let jobs = load.take_batch();
        (!jobs.is_empty()).then(|| jobs.iter().map(|job| job.cost()).collect())
    })
    .collect();
    assert_eq!(batches, [vec![5, 5, 5, 5], vec![6, 6], vec![5]]);
}

#[test]
fn the_estimated_number_of_rounds_assumes_full_batches_and_one_job_for_each_idle_thread() {
    let of_one_cost = |count| std::iter::repeat_n(12, count);
    // Two threads: a round has 8 jobs, or one job for each thread that is idle.
    for (running, waiting, expected) in [
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 2),
        (0, 10, 2),
        (0, 11, 3),
        (1, 1, 1),
        (1, 9, 2),
        (1, 10, 3),
        (2, 1, 2),
        (2, 8, 2),
        (2, 9, 3),
        (2, 500, 64),
    ] {
        assert_eq!(
            rounds(running, of_one_cost(waiting), 2),
            expected,
            "{running} running, {waiting} waiting"
        );
    }
    // Jobs of different costs do not share batches.
    assert_eq!(rounds(1, [12, 13, 12, 14].into_iter(), 1), 4);
}

#[test]
fn jobs_are_admitted_up_to_the_wait_limit() {
    // S-74
    // The first estimate of a batch is 266 ms plus one eighth: 300 ms. Three rounds fit into a second.
    let load = load(Duration::from_secs(1));
    let admit_many = || (0..500).map(|_| admit(&load, 12)).collect::<Vec<_>>();
    let results = admit_many();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2 + 2 * 8);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|it| it.retry_after_secs == 1));
    drop(results);
    // Batches take longer than estimated: two rounds don't fit into a second.
    for _ in 0..40 {
        load.record_duration(BATCH_MAX, Duration::from_millis(600));
    }
    assert_eq!(admit_many().iter().filter(|result| result.is_ok()).count(), 2);
}

fn load(max_wait: Duration) -> Arc<Load> {
    HashPool::with_threads(2, 12, max_wait).load
}

/// Adds a job to the queue. The job never runs, because no batch is submitted to the threads.
fn admit(load: &Load, cost: u32) -> Result<oneshot::Receiver<Ran>, Overloaded> {
    let (reply, result) = oneshot::channel();
    load.admit(Request::new(Probe(cost, Action::Nothing), reply)).map(|()| result)
}

#[tokio::test]
async fn a_panic_does_not_end_its_thread() {
    let pool = HashPool::start(4, Duration::from_secs(5));
    for _ in 0..pool.load.threads * 2 {
        assert!(pool.run(Probe(4, Action::Panic)).await.is_err());
    }
    pool.run(Probe(4, Action::Nothing)).await.unwrap();
    assert_idle(&pool);
}

#[tokio::test]
async fn the_job_of_a_cancelled_caller_does_not_run_and_releases_its_place() {
    let (pool, release, first) = blocked().await;
    let (started, has_started) = mpsc::channel();
    let (_release, released) = mpsc::channel();
    let cancelled =
        tokio::time::timeout(Duration::from_millis(1), pool.run(Probe(4, Action::Block(started, released))))
            .await;
    assert!(cancelled.is_err());
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
    // The job of the cancelled caller does not run, not even in a lane.
    assert_eq!(pool.run(Probe(4, Action::Nothing)).await, Ok(Ran::Alone));
    assert!(has_started.try_recv().is_err());
    assert_idle(&pool);
}

//! Threads that run the most frequent reads on SQLite.
//!
//! `sqlx` sends each row through a channel and copies each value, which takes longer than SQLite needs to
//! read the row. A thread of this module runs a whole statement and sends all rows at once. The benchmark "20
//! of a user's trips" of `benches/run` measures the effect.
//!
//! Most statements take some tens of microseconds, so one thread can run many of them, and each switch to
//! another thread costs CPU time. Another thread is therefore woken or started only if several statements
//! wait for each busy thread, or if a statement has waited for [`PATIENCE`]. A thread that has run one
//! statement for longer than [`QUICK`] does not count as busy: the statement reads many rows, or waits for
//! the disk. The thread that was busy last is woken first, because its cache contains the most recent pages.
//! Each thread opens a connection of its own, and closes the connection after an error.
//!
//! The statements do not run on the threads of the runtime: a page that is not in memory would then delay all
//! other requests of such a thread.

mod connection;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use sea_orm::error::ConnAcquireErr;
use sea_orm::{DbErr, RuntimeErr, Statement};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use self::connection::Reader;
use super::DATABASE_TIMEOUT;
use super::rows::SqliteRows;

pub(super) use self::connection::DatabaseFile;

/// How many statements wait for each busy thread before another thread is woken or started.
const WAITING_PER_THREAD: usize = 4;
/// How long a statement waits before another thread is woken or started.
const PATIENCE: Duration = Duration::from_millis(5);
/// A thread that has run one statement for longer than this does not count in [`State::max_waiting`].
const QUICK: Duration = Duration::from_millis(1);

/// The threads and their queue. Dropping this value ends the threads.
#[derive(Debug)]
pub(super) struct RowReaders(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Notified when the last thread has ended.
    ended: Notify,
    /// The maximum number of threads.
    size: usize,
    /// The maximum duration of a statement.
    limit: Duration,
    /// How long a statement waits for a thread.
    wait: Duration,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    file: DatabaseFile,
    queue: VecDeque<Job>,
    next_id: u64,
    threads: usize,
    /// The idle threads, in the order in which they became idle.
    parked: Vec<Thread>,
    /// The running statements, and when each was started.
    running: Vec<(u64, Instant)>,
}

/// A thread that begins to take statements from the queue.
enum Helper {
    Parked(Thread),
    New(DatabaseFile),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Statements run.
    Open,
    /// The threads end. Statements wait in the queue until there are threads again.
    Paused,
    /// The threads end when the queue is empty. New statements are rejected.
    Closed,
}

/// A statement that waits for a thread.
#[derive(Debug)]
struct Job {
    id: u64,
    statement: Statement,
    reply: oneshot::Sender<Result<SqliteRows, DbErr>>,
}

impl RowReaders {
    /// Creates up to `size` threads on demand. `limit` is the maximum duration of a statement.
    pub(super) fn new(file: DatabaseFile, size: usize, limit: Duration) -> Self {
        Self::with_wait(file, size, limit, DATABASE_TIMEOUT)
    }

    fn with_wait(file: DatabaseFile, size: usize, limit: Duration, wait: Duration) -> Self {
        let (queue, parked, running) = (VecDeque::new(), Vec::new(), Vec::new());
        let state = State { phase: Phase::Open, file, queue, next_id: 0, threads: 0, parked, running };
        Self(Arc::new(Inner { state: Mutex::new(state), ended: Notify::new(), size, limit, wait }))
    }

    /// Returns the rows of a statement that only reads. A caller can drop the query at any time.
    ///
    /// # Errors
    ///
    /// [`DbErr::ConnectionAcquire`] if no thread becomes free in time; [`DbErr::Query`]; [`DbErr::Conn`].
    pub(super) async fn query(&self, statement: Statement) -> Result<SqliteRows, DbErr> {
        let (reply, mut rows) = oneshot::channel();
        let id = self.submit(statement, reply)?;
        let mut waited = timeout(PATIENCE, &mut rows).await;
        if waited.is_err() {
            self.0.add_helper(self.0.state(), true)?;
            waited = timeout(self.0.wait, &mut rows).await;
        }
        let result = match waited {
            Ok(result) => result,
            Err(_) if self.withdraw(id) => return Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
            // The statement is already running. It ends at its time limit at the latest.
            Err(_) => rows.await,
        };
        result.unwrap_or_else(|_| Err(DbErr::Query(internal("a statement ended without a result"))))
    }

    /// Queues a statement, and wakes or starts a thread if necessary.
    fn submit(
        &self,
        statement: Statement,
        reply: oneshot::Sender<Result<SqliteRows, DbErr>>,
    ) -> Result<u64, DbErr> {
        let mut state = self.0.state();
        if state.phase == Phase::Closed {
            return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed));
        }
        let id = state.next_id;
        state.next_id += 1;
        state.queue.push_back(Job { id, statement, reply });
        self.0.add_helper(state, false)?;
        Ok(id)
    }

    /// Removes a statement from the queue. Returns `false` if a thread has taken the statement.
    fn withdraw(&self, id: u64) -> bool {
        let mut state = self.0.state();
        let position = state.queue.iter().position(|job| job.id == id);
        position.and_then(|position| state.queue.remove(position)).is_some()
    }

    /// Waits until the running statements have ended. Later statements read from `file`.
    ///
    /// # Errors
    ///
    /// [`DbErr::ConnectionAcquire`] if the statements do not end in time.
    pub(super) async fn replace_file(&self, file: DatabaseFile) -> Result<(), DbErr> {
        let ended = self.end_threads(Phase::Paused).await;
        let mut state = self.0.state();
        if state.phase == Phase::Paused {
            state.phase = Phase::Open;
        }
        if ended {
            state.file = file;
        }
        drop(state);
        for _ in 0..self.0.size {
            self.0.add_helper(self.0.state(), false)?;
        }
        if ended { Ok(()) } else { Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) }
    }

    /// Runs the statements of the queue, closes the connections, and rejects new statements. A statement that
    /// still runs after a timeout keeps its connection.
    pub(super) async fn close(&self) {
        self.end_threads(Phase::Closed).await;
        let waiting = mem::take(&mut self.0.state().queue);
        for Job { reply, .. } in waiting {
            // `send` fails if the caller was dropped.
            drop(reply.send(Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))));
        }
    }

    /// Returns the number of busy threads and the maximum number of threads.
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.0.state().busy(), self.0.size)
    }

    /// Enters `phase`, and waits for the threads to end. Returns whether all threads have ended in time.
    async fn end_threads(&self, phase: Phase) -> bool {
        let mut ended = std::pin::pin!(self.0.ended.notified());
        // Register for the notification before the threads can end.
        ended.as_mut().enable();
        let has_threads = self.0.enter(phase);
        !has_threads || timeout(DATABASE_TIMEOUT, ended).await.is_ok()
    }
}

impl Drop for RowReaders {
    fn drop(&mut self) {
        self.0.enter(Phase::Closed);
    }
}

impl State {
    fn busy(&self) -> usize {
        self.threads.saturating_sub(self.parked.len())
    }

    /// Returns how many statements can wait for the busy threads before another thread is woken or started.
    fn max_waiting(&self) -> usize {
        let slow = self.running.iter().filter(|(_, started)| started.elapsed() > QUICK).count();
        self.busy().saturating_sub(slow) * WAITING_PER_THREAD
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a phase in which the threads end. Returns whether threads still have to end. [`Phase::Closed`]
    /// is final.
    fn enter(&self, phase: Phase) -> bool {
        let mut state = self.state();
        if state.phase != Phase::Closed {
            state.phase = phase;
        }
        let (parked, threads) = (mem::take(&mut state.parked), state.threads);
        drop(state);
        parked.iter().for_each(Thread::unpark);
        threads > 0
    }

    /// Wakes or starts a thread if more statements wait than [`State::max_waiting`] allows. If `is_urgent`,
    /// one waiting statement is enough.
    fn add_helper(self: &Arc<Self>, mut state: MutexGuard<'_, State>, is_urgent: bool) -> Result<(), DbErr> {
        let helper = self.reserve_helper(&mut state, is_urgent);
        drop(state);
        match helper {
            Some(Helper::Parked(thread)) => {
                thread.unpark();
                Ok(())
            }
            Some(Helper::New(file)) => self.start_thread(file),
            None => Ok(()),
        }
    }

    fn reserve_helper(&self, state: &mut State, is_urgent: bool) -> Option<Helper> {
        let max_waiting = if is_urgent { 0 } else { state.max_waiting() };
        if state.phase != Phase::Open || state.queue.len() <= max_waiting {
            return None;
        }
        if let Some(parked) = state.parked.pop() {
            return Some(Helper::Parked(parked));
        }
        (state.threads < self.size).then(|| {
            state.threads += 1;
            Helper::New(state.file.clone())
        })
    }

    fn start_thread(self: &Arc<Self>, file: DatabaseFile) -> Result<(), DbErr> {
        let worker = Worker(Arc::clone(self));
        let started =
            thread::Builder::new().name("sqlite-rows".to_owned()).spawn(move || worker.serve(&file));
        // If the thread can't be started, the existing threads run the statement, if there are any.
        match started {
            Err(error) if self.state().threads == 0 => Err(DbErr::Conn(internal(&error.to_string()))),
            _ => Ok(()),
        }
    }

    /// Waits for the next statement of a thread that has finished the statement `finished`. Returns `None` if
    /// the thread must end.
    fn next_job(&self, finished: Option<u64>) -> Option<Job> {
        let mut state = self.state();
        state.running.retain(|(id, _)| Some(*id) != finished);
        loop {
            if state.phase == Phase::Paused {
                return None;
            }
            match state.queue.pop_front() {
                // The caller was dropped.
                Some(job) if job.reply.is_closed() => {}
                Some(job) => {
                    state.running.push((job.id, Instant::now()));
                    return Some(job);
                }
                None if state.phase == Phase::Closed => return None,
                None => {
                    let this = thread::current();
                    let id = this.id();
                    state.parked.push(this);
                    while state.parked.iter().any(|parked| parked.id() == id) {
                        drop(state);
                        thread::park();
                        state = self.state();
                    }
                }
            }
        }
    }
}

/// Runs statements on one thread. [`State::threads`] is the number of workers.
struct Worker(Arc<Inner>);

impl Worker {
    /// Runs the statements of the queue on connections to `file`.
    fn serve(&self, file: &DatabaseFile) {
        let mut idle: Option<Reader> = None;
        self.run_each(|statement| {
            // After an error or a panic, the next statement opens another connection.
            let reader = idle.take().map_or_else(|| Reader::open(file), Ok)?;
            let rows = reader.query(statement, self.0.limit)?;
            idle = Some(reader);
            Ok(rows)
        });
    }

    /// Calls `run` for each statement of the queue, until the thread must end. A panic fails only its
    /// statement.
    fn run_each(&self, mut run: impl FnMut(&Statement) -> Result<SqliteRows, DbErr>) {
        let mut finished = None;
        while let Some(Job { id, statement, reply }) = self.0.next_job(finished) {
            finished = Some(id);
            let panicked = |_| Err(DbErr::Query(internal("a statement panicked")));
            let result = catch_unwind(AssertUnwindSafe(|| run(&statement))).unwrap_or_else(panicked);
            // `send` fails if the caller was dropped.
            drop(reply.send(result));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.threads -= 1;
        if state.threads == 0 {
            self.0.ended.notify_waiters();
        }
    }
}

fn internal(message: &str) -> RuntimeErr {
    RuntimeErr::Internal(message.to_owned())
}

//! SQLite's single writer.
//!
//! The writer runs all waiting functions in one `BEGIN IMMEDIATE` and returns their results after the shared
//! COMMIT (group commit), so that one sync to disk serves many functions. Changes without a result are
//! deferred and sent in batches. There are no savepoints, because they halve the throughput.
//!
//! The writer rolls back, and runs each function again in a separate transaction, in these cases: a function
//! fails after it has changed something, a function fails with a database error that is not a constraint
//! violation, a deferred change fails, a caller abandons a function that has already run, or the database
//! reports that the COMMIT failed. If the result of the COMMIT does not arrive, no function runs again.
//! Functions have no effects except through their [`Tx`], so a second run is not observable.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};

use super::full_disk::ImmutableReaders;
use super::sqlite_files::SqliteFiles;
use super::{ATTEMPTS, HasStoreError, StoreError, Tx, WriteGate, retry_delay};
use crate::metrics;

/// Maximum number of functions in one transaction. Limits how long the first function waits for the commit.
const MAX_BATCH: usize = 256;
/// Maximum number of waiting functions.
const QUEUE_CAPACITY: usize = 8192;

/// A handle to the writer's task. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The state of the transaction after a function has run in it.
enum Ended {
    /// The transaction can be committed: the function succeeded, or failed without a change.
    Clean,
    /// The transaction must be rolled back.
    MustRollBack,
}

trait Job: Send {
    fn run<'a>(&'a mut self, tx: &'a Tx) -> BoxFuture<'a, Ended>;
    /// Marks that COMMIT is sent next. Returns `false` if the caller has abandoned the function, whose changes
    /// must then be rolled back.
    fn begin_commit(&self) -> bool;
    /// Discards the result of the last run, which was rolled back.
    fn reset(&mut self);
    /// Returns the database error of the last run, if any.
    fn store_error(&self) -> Option<&StoreError>;
    /// Sends the caller the result of the last run, or the reason why this run was not committed.
    fn reply(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Function<I, T, E, F> {
    input: I,
    work: F,
    result: Option<Result<T, E>>,
    gate: WriteGate,
    sender: oneshot::Sender<Result<T, E>>,
}

impl<I, T, E, F> Job for Function<I, T, E, F>
where
    I: Send + Sync,
    T: Send,
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync,
{
    fn run<'a>(&'a mut self, tx: &'a Tx) -> BoxFuture<'a, Ended> {
        async move {
            if !self.gate.start() {
                return Ended::Clean;
            }
            tx.take_changed();
            // A panic must fail one request, not the writer's task.
            let run = AssertUnwindSafe((self.work)(tx, &self.input)).catch_unwind().await;
            let panicked = |_| Err(StoreError::internal("a function of a transaction panicked").into());
            let result = run.unwrap_or_else(panicked);
            let ended = match &result {
                Ok(_) => Ended::Clean,
                Err(error) => match error.store() {
                    Some(store) if !store.undoes_only_statement() => Ended::MustRollBack,
                    _ if tx.take_changed() => Ended::MustRollBack,
                    _ => Ended::Clean,
                },
            };
            self.result = Some(result);
            ended
        }
        .boxed()
    }

    fn begin_commit(&self) -> bool {
        // A function that was abandoned before it ran has no result and no changes.
        self.result.is_none() || self.gate.begin_commit()
    }

    fn reset(&mut self) {
        self.gate.reset();
        self.result = None;
    }

    fn store_error(&self) -> Option<&StoreError> {
        self.result.as_ref()?.as_ref().err()?.store()
    }

    fn reply(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            // The function failed without a change, so the failed commit is irrelevant. Return the error of
            // the function.
            (Err(_), Some(Err(error))) => Err(error),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => Err(StoreError::internal("a function was committed before it ran").into()),
        };
        // `send` fails if the caller was dropped. The write remains committed.
        drop(self.sender.send(result));
    }
}

impl Writer {
    /// Starts the writer's task on `connection`. If the connection fails in a transaction, the task opens a
    /// new connection with `options`.
    pub(super) fn start(connection: DatabaseConnection, options: ConnectOptions, files: SqliteFiles) -> Self {
        let immutable = None;
        Self::spawn(WriterConnection { connection, options, files, immutable, may_be_in_transaction: false })
    }

    /// Starts the writer's task without a connection. The task connects with `options` when there is space on
    /// the disk, and then replaces `immutable`.
    pub(super) fn start_without_space(
        options: ConnectOptions,
        files: SqliteFiles,
        immutable: ImmutableReaders,
    ) -> Self {
        let (connection, immutable) = (DatabaseConnection::default(), Some(immutable));
        Self::spawn(WriterConnection { connection, options, files, immutable, may_be_in_transaction: false })
    }

    fn spawn(connection: WriterConnection) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_CAPACITY);
        tokio::spawn(serve(connection, waiting));
        Self { queue }
    }

    pub(super) async fn submit<I, T, E, F>(&self, limit: Duration, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let (sender, result) = oneshot::channel();
        let gate = WriteGate::default();
        let job = Function { input, work, result: None, gate: gate.clone(), sender };
        let done = async {
            self.queue.send(Message::Run(Box::new(job))).await.map_err(|_| StoreError::unavailable())?;
            result.await.map_err(|_| gate.give_up())?
        };
        gate.wait(limit, done).await
    }

    /// Waits until all functions that were submitted earlier have ended, and then ends the task.
    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            drop(wait.await);
        }
    }
}

/// The writer's connection. When the disk is full or fails, SQLite can end a transaction by itself. The
/// driver then still treats that transaction as open. The driver would nest every later transaction inside
/// that transaction, and never commit the later transactions. Therefore the writer replaces a connection
/// before the next transaction, unless the connection is known to have left its last transaction.
struct WriterConnection {
    connection: DatabaseConnection,
    options: ConnectOptions,
    files: SqliteFiles,
    /// The read-only connections to replace before the first commit, if the disk was full at the start.
    immutable: Option<ImmutableReaders>,
    may_be_in_transaction: bool,
}

impl WriterConnection {
    async fn begin(&mut self, tx: fn(DatabaseTransaction) -> Tx) -> Result<Tx, StoreError> {
        // Check before connecting, because connecting would create a missing file.
        self.files.check()?;
        if let Some(immutable) = &self.immutable {
            let full = |error| StoreError::StorageFull(Arc::new(error));
            let connection = Database::connect(self.options.clone()).await.map_err(full)?;
            self.files.watch_log();
            immutable.replace().await?;
            (self.connection, self.immutable) = (connection, None);
        } else if self.may_be_in_transaction {
            let new = Database::connect(self.options.clone()).await?;
            self.close().await;
            self.connection = new;
            tracing::warn!("replaced the connection for writes, because it had failed in a transaction");
        }
        // Reset by `commit` and `roll_back`.
        self.may_be_in_transaction = true;
        Ok(tx(self.connection.begin_with_options(immediate()).await?))
    }

    async fn commit(&mut self, tx: Tx) -> Result<(), StoreError> {
        if let Err(lost) = self.files.check() {
            self.roll_back(tx).await;
            return Err(lost);
        }
        let result = tx.commit().await;
        self.may_be_in_transaction = result.as_ref().is_err_and(|failed| !failed.is_over);
        result.map_err(|failed| failed.error)
    }

    async fn roll_back(&mut self, tx: Tx) {
        self.may_be_in_transaction = !tx.rollback().await;
    }

    async fn close(&self) {
        if self.immutable.is_some() {
            // The writer has never connected.
            return;
        }
        if let Err(error) = self.connection.close_by_ref().await {
            tracing::warn!(%error, "failed to close the connection for writes");
        }
    }
}

async fn serve(mut connection: WriterConnection, mut waiting: mpsc::Receiver<Message>) {
    let mut messages = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut messages, MAX_BATCH).await > 0 {
        let mut jobs = Vec::with_capacity(messages.len());
        let mut closing = None;
        for message in messages.drain(..) {
            match message {
                Message::Run(job) => jobs.push(job),
                Message::Close(done) => closing = Some(done),
            }
        }
        let (functions, started) = (jobs.len(), Instant::now());
        commit(&mut connection, jobs).await;
        if functions > 0 {
            metrics::committed(functions, started.elapsed());
        }
        if let Some(done) = closing {
            connection.close().await;
            let _ = done.send(());
            return;
        }
    }
}

async fn commit(connection: &mut WriterConnection, mut jobs: Vec<Box<dyn Job>>) {
    if jobs.len() > 1 {
        match commit_batch(connection, &mut jobs).await {
            Ok(()) => {
                for job in jobs {
                    job.reply(Ok(()));
                }
                return;
            }
            Err(error @ StoreError::OutcomeUnknown(_)) => {
                for job in jobs {
                    job.reply(Err(error.clone()));
                }
                return;
            }
            Err(error) => {
                tracing::debug!(
                    %error,
                    jobs = jobs.len(),
                    "a shared transaction failed: running each function in a separate transaction"
                );
                // Until a function runs again, its caller can abandon it.
                for job in &mut jobs {
                    job.reset();
                }
            }
        }
    }
    for mut job in jobs {
        let committed = commit_single(connection, job.as_mut()).await;
        job.reply(committed);
    }
}

async fn commit_batch(
    connection: &mut WriterConnection,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), StoreError> {
    let tx = connection.begin(Tx::shared).await?;
    for job in jobs.iter_mut() {
        let must_roll_back = matches!(job.run(&tx).await, Ended::MustRollBack);
        let cause = tx.deferred_error().or_else(|| job.store_error().filter(|_| must_roll_back)).cloned();
        if must_roll_back || cause.is_some() {
            connection.roll_back(tx).await;
            return Err(cause.unwrap_or_else(StoreError::conflict));
        }
    }
    if !jobs.iter().all(|job| job.begin_commit()) {
        connection.roll_back(tx).await;
        return Err(StoreError::conflict());
    }
    connection.commit(tx).await
}

async fn commit_single(connection: &mut WriterConnection, job: &mut dyn Job) -> Result<(), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let result = try_single(connection, job).await;
        let error = result.as_ref().err().or_else(|| job.store_error());
        if attempt < ATTEMPTS && error.is_some_and(StoreError::is_retryable) {
            tokio::time::sleep(retry_delay(attempt)).await;
        } else {
            return result;
        }
    }
}

async fn try_single(connection: &mut WriterConnection, job: &mut dyn Job) -> Result<(), StoreError> {
    job.reset();
    let tx = connection.begin(Tx::transaction).await?;
    match job.run(&tx).await {
        Ended::Clean if job.begin_commit() => connection.commit(tx).await,
        Ended::Clean => {
            connection.roll_back(tx).await;
            Err(StoreError::unavailable())
        }
        Ended::MustRollBack => {
            connection.roll_back(tx).await;
            Ok(())
        }
    }
}
/// Returns options that make a SQLite transaction take the write lock when it begins. A transaction that
/// reads before it writes would otherwise fail with `SQLITE_BUSY_SNAPSHOT` if another transaction wrote in
/// between, regardless of the busy timeout. The options have no effect on a database server.
pub(super) fn immediate() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    }
}

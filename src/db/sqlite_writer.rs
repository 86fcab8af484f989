//! SQLite's one writer.
//!
//! All that waits is run in one `BEGIN IMMEDIATE` and answered after the common COMMIT, so that one
//! sync to disk serves many writers, and changes that nobody asks about wait for each other and are
//! sent together. There are no savepoints: they cost half of the throughput. If a function fails after
//! it changed something, or a change that waited, or the common COMMIT, everything is rolled back and
//! each function is run again alone; functions only talk to their [`Tx`], so nobody can tell.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, TransactionTrait};
use tokio::sync::{mpsc, oneshot};

use super::open::immediate;
use super::read_pool::ReadPool;
use super::{ATTEMPTS, HasStoreError, StoreError, Tx, WriteGate, pause};

/// How many functions one COMMIT may serve: bounds how long the first of them waits.
const BATCH: usize = 256;
/// How many may wait in all.
const QUEUE: usize = 8192;

/// The way to the writer's task.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    readers: Arc<OnceLock<ReadPool>>,
}

enum Message {
    Run(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// How one function ended inside the common transaction.
enum Ended {
    /// With what is to be committed, or with an error that changed nothing.
    Clean,
    /// The transaction can't be committed as it is.
    MustRollBack,
}

trait Job: Send {
    fn run<'a>(&'a mut self, tx: &'a Tx) -> BoxFuture<'a, Ended>;
    /// Forgets the last run, which was undone.
    fn forget(&mut self);
    /// The error that the last run met in the database, if it did.
    fn store_error(&self) -> Option<&StoreError>;
    /// Tells the caller: what the last run returned, or why it could not be committed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Function<I, T, E, F> {
    input: I,
    work: F,
    result: Option<Result<T, E>>,
    gate: WriteGate,
    reply: oneshot::Sender<Result<T, E>>,
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
            if !self.gate.begin() {
                return Ended::Clean;
            }
            tx.take_changed();
            // A panic ends one request, not the only task that can write.
            let run = AssertUnwindSafe((self.work)(tx, &self.input)).catch_unwind().await;
            let panicked =
                |_| Err(StoreError::internal("a function of a transaction panicked".to_owned()).into());
            let result = run.unwrap_or_else(panicked);
            let ended = match &result {
                Ok(_) => Ended::Clean,
                Err(error) => match error.store() {
                    Some(store) if !store.leaves_transaction() => Ended::MustRollBack,
                    _ if tx.take_changed() => Ended::MustRollBack,
                    _ => Ended::Clean,
                },
            };
            self.result = Some(result);
            ended
        }
        .boxed()
    }

    fn forget(&mut self) {
        self.gate.undone();
        self.result = None;
    }

    fn store_error(&self) -> Option<&StoreError> {
        self.result.as_ref()?.as_ref().err()?.store()
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (committed, self.result) {
            (Ok(()), Some(result)) => result,
            // An error of the last run stands: it changed nothing.
            (Err(_), Some(Err(error))) => Err(error),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => {
                Err(StoreError::internal("a function was committed without being run".to_owned()).into())
            }
        };
        // A caller that went away has no ear for the answer; the write stands all the same.
        drop(self.reply.send(result));
    }
}

impl Writer {
    /// Starts the writer's task on a connection of its own, and on further ones as `options` open them.
    pub(super) fn start(connection: DatabaseConnection, options: ConnectOptions) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(WriterConnection { connection, options, is_in_doubt: false }, waiting));
        Self { queue, readers: Arc::default() }
    }

    /// The connections that are kept of `pool`; the same at each call.
    pub(super) fn readers(&self, pool: &DatabaseConnection) -> ReadPool {
        self.readers.get_or_init(|| ReadPool::of(pool)).clone()
    }

    pub(super) async fn submit<I, T, E, F>(&self, input: I, work: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: HasStoreError,
        F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let gate = WriteGate::default();
        let job = Function { input, work, result: None, gate: gate.clone(), reply };
        gate.wait(async {
            self.queue.send(Message::Run(Box::new(job))).await.map_err(|_| StoreError::unavailable())?;
            answer.await.map_err(|_| StoreError::unavailable())?
        })
        .await
    }

    /// Waits until all that was submitted before is committed, and ends the task.
    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.queue.send(Message::Close(done)).await.is_ok() {
            drop(wait.await);
        }
    }
}

/// The writer's connection. Where the disk is full or fails, SQLite ends a transaction by itself; the driver
/// then takes it for open still, and what it begins inside of that is never committed. So a connection
/// that is not known to be out of its last transaction begins no other: a new one takes its place.
struct WriterConnection {
    connection: DatabaseConnection,
    options: ConnectOptions,
    is_in_doubt: bool,
}

impl WriterConnection {
    async fn begin(&mut self, tx: fn(DatabaseTransaction) -> Tx) -> Result<Tx, StoreError> {
        if self.is_in_doubt {
            let new = Database::connect(self.options.clone()).await?;
            self.close().await;
            self.connection = new;
            tracing::warn!("a new connection writes to the database: the last one failed in a transaction");
        }
        // Until it has ended.
        self.is_in_doubt = true;
        Ok(tx(self.connection.begin_with_options(immediate()).await?))
    }

    async fn commit(&mut self, tx: Tx) -> Result<(), StoreError> {
        let done = tx.commit().await;
        self.is_in_doubt = done.as_ref().is_err_and(|uncommitted| !uncommitted.is_over);
        done.map_err(|uncommitted| uncommitted.error)
    }

    async fn roll_back(&mut self, tx: Tx) {
        self.is_in_doubt = !tx.rollback().await;
    }

    async fn close(&self) {
        if let Err(error) = self.connection.close_by_ref().await {
            tracing::warn!(%error, "closing the database's writer failed");
        }
    }
}

async fn serve(mut link: WriterConnection, mut waiting: mpsc::Receiver<Message>) {
    let mut messages = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut messages, BATCH).await > 0 {
        let mut jobs = Vec::with_capacity(messages.len());
        let mut closing = None;
        for message in messages.drain(..) {
            match message {
                Message::Run(job) => jobs.push(job),
                Message::Close(done) => closing = Some(done),
            }
        }
        commit(&mut link, jobs).await;
        if let Some(done) = closing {
            link.close().await;
            let _ = done.send(());
            return;
        }
    }
}

async fn commit(link: &mut WriterConnection, mut jobs: Vec<Box<dyn Job>>) {
    if jobs.len() > 1 {
        match commit_batch(link, &mut jobs).await {
            Ok(()) => {
                for job in jobs {
                    job.answer(Ok(()));
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%error, jobs = jobs.len(), "a common transaction is split");
                // Until its turn comes, whoever waits for one may give it up.
                for job in &mut jobs {
                    job.forget();
                }
            }
        }
    }
    for mut job in jobs {
        let committed = commit_single(link, job.as_mut()).await;
        job.answer(committed);
    }
}

async fn commit_batch(link: &mut WriterConnection, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let tx = link.begin(Tx::shared).await?;
    for job in jobs {
        let is_spoilt = matches!(job.run(&tx).await, Ended::MustRollBack);
        let cause = tx.deferred_error().or_else(|| job.store_error().filter(|_| is_spoilt)).cloned();
        if is_spoilt || cause.is_some() {
            link.roll_back(tx).await;
            return Err(cause.unwrap_or_else(StoreError::conflict));
        }
    }
    link.commit(tx).await
}

async fn commit_single(link: &mut WriterConnection, job: &mut dyn Job) -> Result<(), StoreError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let done = alone_once(link, job).await;
        let error = done.as_ref().err().or_else(|| job.store_error());
        if attempt < ATTEMPTS && error.is_some_and(StoreError::is_retryable) {
            tokio::time::sleep(pause(attempt)).await;
        } else {
            return done;
        }
    }
}

async fn alone_once(link: &mut WriterConnection, job: &mut dyn Job) -> Result<(), StoreError> {
    job.forget();
    let tx = link.begin(Tx::transaction).await?;
    match job.run(&tx).await {
        Ended::Clean => link.commit(tx).await,
        Ended::MustRollBack => {
            link.roll_back(tx).await;
            Ok(())
        }
    }
}

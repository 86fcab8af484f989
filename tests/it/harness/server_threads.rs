//! Runs a server on its own threads, as in production.
//!
//! On the thread of the test, the server would stop whenever the test blocks this thread, for example to drop
//! its database. If the server stopped in the middle of a transaction or of a database handshake, the test
//! would wait for the server forever.

use std::cell::Cell;
use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};
use tracing::dispatcher::{self, DefaultGuard};
use tripgate::clock::Clock;
use tripgate::config::Settings;
use tripgate::serve::{self, Running};

thread_local! {
    /// Keeps the subscriber of a thread of the server.
    static SUBSCRIBER: Cell<Option<DefaultGuard>> = const { Cell::new(None) };
}

/// A running server. Dropping it stops the server at once, like a kill.
#[derive(Debug)]
pub(super) struct ServerThreads {
    // The server, boxed to keep the futures of the tests small.
    running: Option<Box<Running>>,
    runtime: Option<Runtime>,
}

impl ServerThreads {
    /// Starts a server. Its threads log to the subscriber of the calling thread, if there is one.
    pub(super) async fn start(settings: Settings, clock: Clock) -> Self {
        let subscriber = dispatcher::get_default(Clone::clone);
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || SUBSCRIBER.set(Some(dispatcher::set_default(&subscriber))))
            .on_thread_stop(|| drop(SUBSCRIBER.take()))
            .build()
            .unwrap();
        let running = runtime.spawn(async move { serve::start(&settings, clock).await });
        let running = Some(Box::new(running.await.unwrap().unwrap()));
        Self { running, runtime: Some(runtime) }
    }

    /// Stops the server gracefully.
    pub(super) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.unwrap();
        }
    }
}

impl Deref for ServerThreads {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for ServerThreads {
    fn drop(&mut self) {
        // Shut down without waiting, because waiting for a runtime inside a future panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

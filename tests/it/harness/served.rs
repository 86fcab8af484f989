//! A server in threads of its own, as in production: whatever its test waits for, it goes on.
//!
//! A test that blocks its thread, as one does that drops its database, would otherwise stop the server
//! in the middle of a transaction or of a handshake with the database, and then wait for it.

use std::ops::Deref;

use tokio::runtime::{Builder, Runtime};
use tripgate::app::{self, Running};
use tripgate::clock::Clock;
use tripgate::config::Settings;

/// A running server; dropped, it is cut off as by a kill.
#[derive(Debug)]
pub(super) struct Served {
    // Boxed, because it is large and every test would carry it.
    running: Option<Box<Running>>,
    runtime: Option<Runtime>,
}

impl Served {
    pub(super) async fn start(settings: &Settings, clock: Clock) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = settings.clone();
        let running = runtime.spawn(async move { app::start(&settings, clock).await });
        let running = Some(Box::new(running.await.unwrap().unwrap()));
        Self { running, runtime: Some(runtime) }
    }

    /// Stops it in good order.
    pub(super) async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await.unwrap();
        }
    }
}

impl Deref for Served {
    type Target = Running;

    fn deref(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A runtime must not be waited for where a future runs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

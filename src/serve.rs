//! Runs a server: starts the listener, the API and housekeeping, and shuts them down.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::{App, Creation, StartError, StartMode, build};
use crate::clock::Clock;
use crate::config::Settings;
use crate::listener::{self, Limits, Server, ServerError};
use crate::web::API;
use crate::{housekeeping, http};

/// The reason why a server can't start or run. Each case displays as one line.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The services can't be created.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address or the certificate can't be used.
    #[error(transparent)]
    Listener(#[from] ServerError),
    /// The operating system refused something that a server needs.
    #[error("can't run the server: {0}")]
    Io(#[from] io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// The address on which it listens.
    pub address: SocketAddr,
    /// Its services.
    pub app: App,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Stops the server: closes the listener, waits for running requests, and closes the database.
    ///
    /// # Errors
    ///
    /// The error with which the server ended.
    pub async fn stop(self) -> io::Result<()> {
        // Sending fails if the server has stopped already.
        let _ = self.stop.send(());
        self.server.await.map_err(io::Error::other)?
    }
}

/// Starts a server in the background.
///
/// # Errors
///
/// [`ServeError`].
pub async fn start(settings: &Settings, clock: Clock) -> Result<Running, ServeError> {
    start_with(settings, clock, StartMode { creation: Creation::First, exclusive: false }).await
}

async fn start_with(settings: &Settings, clock: Clock, mode: StartMode) -> Result<Running, ServeError> {
    let tls = settings.tls.as_ref().map(|files| listener::tls(&files.cert, &files.key)).transpose()?;
    // Bind first, so that a second server on this address fails before it opens the database.
    let listener = listener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let app = build(settings, clock, settings.public_url(address), mode).await?;
    let (stop, stopped) = oneshot::channel();
    let limits = Limits {
        max_connections: settings.max_connections,
        max_connections_per_address: settings.max_connections_per_address,
        grace: Duration::from_secs(settings.shutdown_secs.into()),
        ..Limits::default()
    };
    let server = tokio::spawn(run(app.clone(), listener, tls, limits, async {
        drop(stopped.await);
    }));
    Ok(Running { address, app, stop, server })
}

async fn run(
    app: App,
    listener: TcpListener,
    tls: Option<Arc<tokio_rustls::rustls::ServerConfig>>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = Arc::new(http::router(&app));
    let stopping = async {
        stop.await;
        app.stopping.store(true, Ordering::Relaxed);
    };
    let background = tokio::spawn(housekeeping::run(app.clone()));
    let server = Server {
        limits,
        bad_request: http::bad_request,
        overloaded: http::overloaded,
        is_reserved: |path| path.starts_with("/health/"),
    };
    let result = server.serve(listener, tls, router, stopping).await;
    background.abort();
    housekeeping::finish(&app).await;
    app.db.close().await;
    result
}

/// Ignores SIGXFSZ until the process ends. A write beyond the limit of a file's size then fails, instead of
/// ending the process.
fn ignore_file_size_signal() -> io::Result<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// Runs a server until SIGTERM or SIGINT.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(settings: Settings, creation: Creation) -> Result<(), ServeError> {
    let signal = listener::stop_signal()?;
    let file_size_signal = ignore_file_size_signal()?;
    let mode = StartMode { creation, exclusive: true };
    let running = start_with(&settings, Clock::system(), mode).await?;
    // The server also runs if its output is closed.
    drop(banner(&settings, running.address));
    tracing::info!(address = %running.address, "serving");
    if settings.public_url.is_none() && running.address.ip().is_unspecified() {
        tracing::warn!("public_url is not set: tokens and links contain an address that clients can't reach");
    }
    signal.await;
    tracing::info!("stopping");
    let stopped = running.stop().await;
    drop(file_size_signal);
    Ok(stopped?)
}

/// Prints the version and the addresses of the server.
fn banner(settings: &Settings, address: SocketAddr) -> io::Result<()> {
    let url = settings.public_url(address);
    let data = settings.data_dir.canonicalize().unwrap_or_else(|_| settings.data_dir.clone());
    let mut out = io::stdout().lock();
    writeln!(out, "Tripgate {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  API   {url}{API}")?;
    if settings.docs {
        writeln!(out, "  Docs  {url}/docs")?;
    }
    writeln!(out, "  Data  {}", data.display())?;
    out.flush()
}

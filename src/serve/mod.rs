//! Runs a server: starts the listeners, the API and housekeeping, and shuts them down.

mod signals;

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::{App, Creation, StartError, StartMode, build};
use crate::clock::Clock;
use crate::config::Settings;
use crate::listener::{self, Certificate, ConnectionEvent, Limits, ProxyProtocol, Server, ServerError};
use crate::secrets::mask_url;
use crate::traces::StartTracesError;
use crate::web::API;
use crate::{housekeeping, http, metrics, traces};
use signals::Signals;

/// The reason why a server can't start or run. The text of each case is one line.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The services can't be created.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address or the certificate can't be used.
    #[error(transparent)]
    Listener(#[from] ServerError),
    /// The traces can't start.
    #[error(transparent)]
    Traces(#[from] StartTracesError),
    /// A system call failed.
    #[error("failed to run the server")]
    Io(#[from] io::Error),
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// The address on which the server listens.
    pub address: SocketAddr,
    /// The address on which the server serves the metrics, if the settings contain such an address.
    pub metrics_address: Option<SocketAddr>,
    /// The services of the server.
    pub app: App,
    certificate: Option<Arc<Certificate>>,
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
    let mode = StartMode { creation: Creation::First, exclusive: false };
    start_with(settings, clock, mode, None).await
}

async fn start_with(
    settings: &Settings,
    clock: Clock,
    mode: StartMode,
    inherited: Option<TcpListener>,
) -> Result<Running, ServeError> {
    let certificate = settings.tls.as_ref().map(|files| Certificate::load(&files.cert, &files.key));
    let certificate = certificate.transpose()?.map(Arc::new);
    // Bind first, so that a second server on this address fails before it opens the database.
    let listener = match inherited {
        Some(listener) => listener,
        None => listener::bind(settings.listen).await?,
    };
    let address = listener.local_addr()?;
    let metrics = match settings.metrics_listen {
        Some(address) => Some(listener::bind(address).await?),
        None => None,
    };
    let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    let app = build(settings, clock, settings.public_url(address), mode).await?;
    let has_wrong_secret = mode.exclusive && !app.tokens.can_mint();
    if let Err(error) = app.replicas.join(address, has_wrong_secret).await {
        app.db.close().await;
        return Err(StartError::from(error).into());
    }
    let (stop, stopped) = oneshot::channel();
    let limits = Limits {
        max_connections: settings.max_connections,
        max_connections_per_address: settings.max_connections_per_address,
        grace: Duration::from_secs(settings.shutdown_secs.into()),
        ..Limits::default()
    };
    let proxies = if settings.proxy_protocol { settings.trusted_proxies.clone() } else { Vec::new() };
    let proxy_protocol = ProxyProtocol::from_proxies(proxies);
    let certificate_of_api = certificate.clone();
    let listeners =
        Listeners { api: listener, proxy_protocol, certificate: certificate_of_api, limits, metrics };
    let server = tokio::spawn(run(app.clone(), listeners, async {
        drop(stopped.await);
    }));
    Ok(Running { address, metrics_address, app, certificate, stop, server })
}

/// The listeners of a server.
struct Listeners {
    api: TcpListener,
    proxy_protocol: ProxyProtocol,
    certificate: Option<Arc<Certificate>>,
    limits: Limits,
    metrics: Option<TcpListener>,
}

async fn run(app: App, listeners: Listeners, stop: impl Future<Output = ()>) -> io::Result<()> {
    let router = Arc::new(http::router(&app));
    let stopping = async {
        stop.await;
        app.stopping.store(true, Ordering::Relaxed);
    };
    let background = tokio::spawn(housekeeping::run(app.clone()));
    let (metrics_stop, metrics_stopped) = oneshot::channel::<()>();
    let metrics = listeners.metrics.map(|listener| {
        tokio::spawn(serve_metrics(app.clone(), listener, async {
            drop(metrics_stopped.await);
        }))
    });
    let server = Server {
        limits: listeners.limits,
        bad_request: http::bad_request,
        head_too_large: http::head_too_large,
        overloaded: http::overloaded,
        observe: |event| match event {
            ConnectionEvent::Opened => metrics::connection_opened(),
            ConnectionEvent::Closed => metrics::connection_closed(),
            ConnectionEvent::Refused => metrics::connection_refused(),
        },
        is_reserved: |path| path.starts_with("/health/"),
    };
    let tls = listeners.certificate.map(listener::tls).transpose().map_err(io::Error::other)?;
    let result = server.serve(listeners.api, listeners.proxy_protocol, tls, router, stopping).await;
    // The metrics stay available while the server waits for the requests in progress.
    drop(metrics_stop);
    if let Some(metrics) = metrics {
        drop(metrics.await);
    }
    background.abort();
    // Wait until the aborted jobs have removed the files of their unfinished work.
    drop(background.await);
    housekeeping::finish(&app).await;
    app.db.close().await;
    result
}

/// The limits of the listener for metrics. If all connections are in use, a new connection replaces a
/// connection that waits for its client. A connection whose request is in progress is not replaced, so the
/// maximum is higher than the number of scrapers.
const METRICS_LIMITS: fn() -> Limits = || Limits {
    max_connections: 256,
    max_connections_per_address: 256,
    grace: Duration::from_millis(200),
    ..Limits::default()
};

/// Serves the metrics without TLS until `stop` resolves.
async fn serve_metrics(app: App, listener: TcpListener, stop: impl Future<Output = ()>) {
    let server = Server {
        limits: METRICS_LIMITS(),
        bad_request: http::metrics_bad_request,
        head_too_large: http::head_too_large,
        overloaded: http::metrics_overloaded,
        observe: |_| {},
        is_reserved: |_| false,
    };
    let router = Arc::new(http::metrics_router(&app));
    if let Err(error) = server.serve(listener, ProxyProtocol::default(), None, router, stop).await {
        tracing::error!(%error, "failed to serve the metrics");
    }
}

/// Runs a server until SIGTERM or SIGINT. A second signal ends the server without waiting for the requests in
/// progress.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(settings: Settings, creation: Creation) -> Result<(), ServeError> {
    let mut signals = Signals::install()?;
    for line in &settings.ignored_variables {
        tracing::warn!("{line}");
    }
    if let Some(endpoint) = &settings.otlp_endpoint {
        traces::start(endpoint)?;
    }
    let mode = StartMode { creation, exclusive: true };
    let running = start_with(&settings, Clock::system(), mode, listener::inherited()?).await?;
    // Ignore the error, because the server also runs if its standard output is closed.
    drop(banner(&settings, &running));
    tracing::info!(address = %running.address, "serving");
    if let Some(address) = running.metrics_address {
        tracing::info!(%address, "metrics are available");
    }
    if settings.public_url.is_none() && running.address.ip().is_unspecified() {
        tracing::warn!(
            "public_url is not set: tokens and links contain an address that clients cannot reach"
        );
    }
    notify(&NotifyState::Ready);
    signals.until_stop(running.certificate.as_deref()).await;
    tracing::info!("stopping");
    notify(&NotifyState::Stopping);
    tokio::select! {
        stopped = running.stop() => {
            traces::finish().await;
            Ok(stopped?)
        }
        () = signals.stop.next() => {
            tracing::warn!("received a second signal to stop: not waiting for the requests in progress");
            Ok(())
        }
    }
}

/// Reports the state of the server to systemd, if the server runs as a service with `Type=notify`.
fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "failed to notify systemd");
    }
}

/// Prints the version and the addresses of the server.
fn banner(settings: &Settings, running: &Running) -> io::Result<()> {
    let url = settings.public_url(running.address);
    let data = settings.data_dir.canonicalize().unwrap_or_else(|_| settings.data_dir.clone());
    let mut out = io::stdout().lock();
    writeln!(out, "Tripgate {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  API   {url}{API}")?;
    if settings.docs {
        writeln!(out, "  Docs  {url}/docs")?;
    }
    if let Some(address) = running.metrics_address {
        writeln!(out, "  Metrics   http://{address}/metrics")?;
    }
    writeln!(out, "  Database  {}", mask_url(settings.database_url.expose()))?;
    writeln!(out, "  Data  {}", data.display())?;
    out.flush()
}

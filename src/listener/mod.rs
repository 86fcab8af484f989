//! The accept loop: serves a poem endpoint on hyper-util's connections.
//!
//! poem's own server has no deadline for a slow header, has no limit on connections, and retries in a busy
//! loop when file descriptors run out. `connection.rs` lists the requests that this server rejects.
//! Invariants:
//!
//! - At most [`Limits::max_connections`] connections are open, besides a few that may call only
//!   [`Server::is_reserved`] paths. A new connection replaces the connection that has waited longest for its
//!   client.
//! - Every connection has a deadline at every moment except while the endpoint handles a request.
//! - An accept error neither ends the loop nor makes it a busy loop.
//! - A stop takes less than [`Limits::grace`] plus one second.

mod acceptor;
mod activity;
mod connection;
mod deadlines;
mod lingering_close;
mod monitored_stream;
mod proxy_header;
mod registry;
mod rejected_head;
mod response_body;
#[cfg(test)]
mod tests;
mod tls;
mod unread_body;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use poem::web::LocalAddr;
use poem::{Endpoint, Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::warn;

use acceptor::Acceptor;
use connection::Shared;
use proxy_header::HeaderWarnings;
pub use proxy_header::{LOCAL_HEADER, ProxyProtocol};
pub use tls::{Certificate, tls};

/// File descriptors reserved for the database, the log, the listener and the reserved connections.
const RESERVED_DESCRIPTORS: usize = 64;
const ABORT_WAIT: Duration = Duration::from_millis(500);

/// Maximum number of bytes that the kernel buffers per connection and has not sent yet. By default the kernel
/// buffers megabytes, and reports no progress for half a minute while a phone reads at 2 KiB/s.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 16 * 1024;

/// Limits on connections and on the time that a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of open connections. At the start, the server lowers this number if the limit on open
    /// files requires it.
    pub max_connections: usize,
    /// Maximum number of open connections of one client address (for IPv6: of one /64 network). For a proxy
    /// that sends the PROXY protocol, the limit applies to each of its clients and not to the proxy.
    pub max_connections_per_address: usize,
    /// Maximum duration of the TLS handshake.
    pub handshake: Duration,
    /// Maximum time until the first byte of a new connection arrives.
    pub first_byte: Duration,
    /// Maximum duration of a request head, counted from its first byte, and of the header of the PROXY protocol.
    pub header: Duration,
    /// Maximum time that a connection may be idle between two requests.
    pub idle: Duration,
    /// Maximum time without progress while output is pending.
    pub write_stall: Duration,
    /// Minimum rate, in bytes per second, at which a client must read pending output. Each byte read extends
    /// the deadline accordingly. The deadline is at most `write_stall` ahead of now at first. This bound
    /// grows to three times `write_stall` while the client keeps up.
    pub write_rate: u32,
    /// How long a stop waits for the requests in progress.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(10),
            write_rate: 1024,
            grace: Duration::from_secs(8),
        }
    }
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process listens on this address.
    #[error("address already in use: {0}")]
    AddressInUse(SocketAddr),
    /// The server can't listen on the address.
    #[error("failed to listen on {addr}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A PEM file is missing, unreadable or malformed.
    #[error("failed to read {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A file contains no certificate or no key.
    #[error("{} contains no {expected} in PEM format, which begins with -----BEGIN", path.display())]
    NoPem {
        /// The file.
        path: PathBuf,
        /// What it must contain.
        expected: &'static str,
    },
    /// The certificate or the key is unusable, or they do not match.
    #[error("failed to use the certificate {} with the key {}", cert.display(), key.display())]
    Certificate {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
}

/// Listens on `addr`.
///
/// # Errors
///
/// [`ServerError::AddressInUse`] and [`ServerError::Bind`].
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, ServerError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ServerError::AddressInUse(addr),
        _ => ServerError::Bind { addr, source },
    })?;
    bound_unsent_bytes(&listener);
    Ok(listener)
}

/// Returns the socket that the process inherited from systemd (`LISTEN_FDS`), if there is one.
///
/// # Errors
///
/// If the inherited file is not a listening TCP socket.
pub fn inherited() -> io::Result<Option<TcpListener>> {
    let Some(listener) = listenfd::ListenFd::from_env().take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    bound_unsent_bytes(&listener);
    Ok(Some(listener))
}

fn bound_unsent_bytes(listener: &TcpListener) {
    // Connections inherit TCP_NOTSENT_LOWAT from the listener. Systems other than Linux, where this function
    // does not set the option, report the progress of a slow reader in larger steps.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        warn!(%error, "failed to set TCP_NOTSENT_LOWAT");
    }
}

/// Returns the signals that stop the server, SIGTERM and SIGINT. After this call, these signals no longer
/// terminate the process by themselves.
///
/// # Errors
///
/// If the handlers can't be installed.
pub fn stop_signals() -> io::Result<StopSignals> {
    Ok(StopSignals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    })
}

/// The signals that stop the server.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// The connection was accepted.
    Opened,
    /// The connection ended.
    Closed,
    /// The connection or its request was refused, because too many connections are open.
    Refused,
}

/// The configuration of the server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// The limits of connections.
    pub limits: Limits,
    /// Builds the 400 response, with the given detail, for a request of this peer that never reaches the
    /// endpoint.
    pub bad_request: fn(IpAddr, &'static str) -> Response,
    /// Builds the 431 response to a request of this peer whose head is too large.
    pub head_too_large: fn(IpAddr) -> Response,
    /// Builds the 503 response to a request of this peer on a connection above [`Limits::max_connections`].
    pub overloaded: fn(IpAddr) -> Response,
    /// Receives what happens to connections, for metrics.
    pub observe: fn(ConnectionEvent),
    /// Returns whether requests to this path are also served on connections above
    /// [`Limits::max_connections`].
    pub is_reserved: fn(&str) -> bool,
}

impl Server {
    /// Serves `endpoint` on `listener` until `stop` resolves. On each connection, first reads the header that
    /// `proxy_protocol` requires, and then does the handshake of `tls`. After `stop`, waits at
    /// most [`Limits::grace`] for the requests in progress, and then aborts the connections that are still open.
    ///
    /// # Errors
    ///
    /// If the listener's local address can't be read.
    pub async fn serve<E: Endpoint + 'static>(
        mut self,
        listener: TcpListener,
        proxy_protocol: ProxyProtocol,
        tls: Option<Arc<ServerConfig>>,
        endpoint: Arc<E>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.limits.max_connections = connection_limit(self.limits.max_connections, raise_descriptors());
        let shared = Arc::new(Shared {
            server: self,
            endpoint,
            tls: tls.map(TlsAcceptor::from),
            header_warnings: HeaderWarnings::default(),
            http: connection::http(),
            local: LocalAddr(listener.local_addr()?.into()),
            stopping: AtomicBool::new(false),
        });
        let mut acceptor = Acceptor::new(listener, &self, proxy_protocol);
        let (stop_tx, stop_rx) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                next = acceptor.next() => next,
            };
            while tasks.try_join_next().is_some() {}
            tasks.spawn(connection::run(accepted, Arc::clone(&shared), stop_rx.clone()));
        }
        drop(acceptor);
        shared.stopping.store(true, Ordering::Release);
        // An error means that no receiver is left, so no connection needs the signal.
        let _ = stop_tx.send(true);
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(self.limits.grace, all).await.is_err() {
            warn!(connections = tasks.len(), "aborting connections that did not finish in time");
            if timeout(ABORT_WAIT, tasks.shutdown()).await.is_err() {
                warn!("failed to abort some connections in time");
            }
        }
        Ok(())
    }
}

/// Raises the soft limit on open files to the hard limit and returns it; `None` means unlimited.
fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, limit = limit.current, "failed to raise the limit on open files");
            limit.current
        }
    }
}

/// Returns `configured`, lowered to what the limit on open files allows.
fn connection_limit(configured: usize, descriptors: Option<u64>) -> usize {
    let available = descriptors
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(usize::MAX, |limit| limit.saturating_sub(RESERVED_DESCRIPTORS).max(1));
    if available < configured {
        warn!(
            configured,
            max_connections = available,
            "lowered max_connections: the limit on open files is too low"
        );
    }
    configured.min(available)
}

//! The accept loop: poem's endpoint on hyper-util's connections.
//!
//! poem's own server has no deadline for a slow header, no limit on connections, and spins when
//! file descriptors run out. What always holds here: never more than
//! [`Limits::max_connections`] connections (the rest waits in the listener's queue); every
//! connection has a deadline at every moment except while the endpoint has a request in hand; the
//! loop neither ends nor spins because of an accept error; a stop takes less than [`Limits::grace`]
//! and one second. What it refuses by itself: requests without exactly one `Host`.

mod activity;
mod connection;
mod deadlines;
mod lingering_close;
mod response_body;
#[cfg(test)]
mod tests;
mod tls;
mod unread_body;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use poem::web::LocalAddr;
use poem::{Endpoint, Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::warn;

use connection::Shared;
pub use tls::tls;

/// Descriptors kept back for the database, the log and the listener.
const RESERVED_DESCRIPTORS: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_LOG_EVERY: Duration = Duration::from_secs(1);
const ABORT_WAIT: Duration = Duration::from_millis(500);

/// What the kernel may hold of one connection beyond what is under way. By itself it takes megabytes,
/// and says nothing for half a minute while a phone at 2 KiB/s reads some of them.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 16 * 1024;

/// What one client may take, in connections and in time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections held at once; lowered at start if the process may not open as many files.
    pub max_connections: usize,
    /// How long the TLS handshake may take.
    pub handshake: Duration,
    /// How long a new connection may stay silent.
    pub first_byte: Duration,
    /// How long a request head may take from its first byte.
    pub header: Duration,
    /// How long a connection may lie unused between two requests.
    pub idle: Duration,
    /// How long what waits for the client to read may make no progress.
    pub write_stall: Duration,
    /// Bytes per second, the least at which a client has to read what waits for it: each byte that it
    /// reads gives it that much more time; how much it may have ahead grows from `write_stall` to three
    /// times that with the time for which it has kept pace.
    pub write_rate: u32,
    /// How long a stop waits for the requests in hand.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
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
    /// Another process listens there.
    #[error("address already in use: {0}")]
    AddressInUse(SocketAddr),
    /// The address can't be listened on.
    #[error("cannot listen on {addr}")]
    Bind {
        /// Where to.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A PEM file is missing, unreadable, or holds nothing of use.
    #[error("cannot read {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key can't be used, or not together.
    #[error("cannot use the certificate {} with the key {}", cert.display(), key.display())]
    Certificate {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
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
    // Connections inherit it. Other systems show a slow reader's progress in larger steps.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        warn!(%error, "TCP_NOTSENT_LOWAT");
    }
    Ok(listener)
}

/// Resolves on SIGTERM or SIGINT; from this call on neither ends the process by itself.
///
/// # Errors
///
/// If the handlers can't be installed.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// What one client may take.
    pub limits: Limits,
    /// Builds the 400 for a request that the endpoint never sees, from a sentence about its fault.
    pub bad_request: fn(&'static str) -> Response,
}

impl Server {
    /// Serves `endpoint` on `listener` until `stop` resolves, then lets requests in hand finish for
    /// [`Limits::grace`] and aborts what is left.
    ///
    /// # Errors
    ///
    /// If the listener does not know its own address.
    pub async fn serve<E: Endpoint + 'static>(
        mut self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        endpoint: Arc<E>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.limits.max_connections = connection_limit(self.limits.max_connections, raise_descriptors());
        let shared = Arc::new(Shared {
            server: self,
            endpoint,
            tls: tls.map(TlsAcceptor::from),
            http: connection::http(),
            local: LocalAddr(listener.local_addr()?.into()),
            stopping: AtomicBool::new(false),
        });
        let mut door = Acceptor::new(listener, self.limits.max_connections);
        let (tell, told) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let (tcp, peer, permit) = tokio::select! {
                biased;
                () = &mut stop => break,
                next = door.next() => next,
            };
            while tasks.try_join_next().is_some() {}
            let conn = connection::run(tcp, peer, Arc::clone(&shared), told.clone());
            tasks.spawn(async move {
                conn.await;
                drop(permit);
            });
        }
        drop(door);
        shared.stopping.store(true, Ordering::Release);
        // Without a receiver there is no connection to tell.
        let _ = tell.send(true);
        let all = async { while tasks.join_next().await.is_some() {} };
        if timeout(self.limits.grace, all).await.is_err() {
            warn!(connections = tasks.len(), "aborting what did not finish in time");
            if timeout(ABORT_WAIT, tasks.shutdown()).await.is_err() {
                warn!("some connections would not be aborted");
            }
        }
        Ok(())
    }
}

/// Lets connections in, as many as there are permits.
struct Acceptor {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    logged: Option<Instant>,
}

impl Acceptor {
    fn new(listener: TcpListener, max_connections: usize) -> Self {
        let permits = Semaphore::new(max_connections.clamp(1, Semaphore::MAX_PERMITS));
        Self { listener, permits: Arc::new(permits), logged: None }
    }

    async fn next(&mut self) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // Never closed; should it be, nobody is let in any more.
                std::future::pending().await
            };
            match self.listener.accept().await {
                Ok((tcp, peer)) => {
                    if let Err(error) = tcp.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "TCP_NODELAY");
                    }
                    return (tcp, peer, permit);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// Out of descriptors the same error would come back at once, and for ever.
    async fn pause(&mut self, error: &io::Error) {
        // The client gave up while it waited: its place in the queue is free, the next may be fine.
        if error.kind() == ErrorKind::ConnectionAborted {
            return;
        }
        if self.logged.is_none_or(|last| last.elapsed() >= ACCEPT_LOG_EVERY) {
            warn!(%error, "cannot accept connections");
            self.logged = Some(Instant::now());
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Raises the limit on open files as far as allowed and returns it; `None` is unlimited.
fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            warn!(%error, limit = limit.current, "cannot raise the limit on open files");
            limit.current
        }
    }
}

/// As many connections as the limit on open files leaves room for.
fn connection_limit(wanted: usize, descriptors: Option<u64>) -> usize {
    let room = descriptors
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(usize::MAX, |limit| limit.saturating_sub(RESERVED_DESCRIPTORS).max(1));
    if room < wanted {
        warn!(wanted, max_connections = room, "too few open files allowed: fewer connections");
    }
    wanted.min(room)
}

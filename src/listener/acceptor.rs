//! Accepts connections within the limits on their number.
//!
//! If the maximum number of connections is open, the server evicts (closes) the connection that has waited
//! longest for its client. If no connection waits for its client, the server accepts a few more connections,
//! which may call only the reserved paths, such as the health checks. If these additional connections are in
//! use too, new connections wait in the kernel's queue.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::proxy_header::ProxyProtocol;
use super::registry::{Registered, Registry};
use super::{ConnectionEvent, Server};

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const LOG_EVERY: Duration = Duration::from_secs(1);
/// How long to wait until an evicted connection has closed, before another connection is evicted.
const EVICTION_WAIT: Duration = Duration::from_millis(20);
/// The number of additional connections that may call only the reserved paths.
pub(super) const RESERVED_CONNECTIONS: usize = 16;

/// An accepted connection and its place.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) peer: SocketAddr,
    /// Whether the connection begins with a header of the PROXY protocol. If so, the registry gets the
    /// address of the client after this header was read.
    pub(super) has_header: bool,
    pub(super) place: Place,
}

/// The place that an open connection occupies among the maximum number of connections. Dropping the value
/// frees the place.
pub(super) struct Place {
    pub(super) registered: Registered,
    /// Whether the connection may call only the reserved paths.
    pub(super) is_reserved: bool,
    _permit: OwnedSemaphorePermit,
}

/// Accepts connections.
pub(super) struct Acceptor {
    listener: TcpListener,
    proxy_protocol: ProxyProtocol,
    max_per_peer: usize,
    observe: fn(ConnectionEvent),
    registry: Arc<Registry>,
    permits: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    last_logged: Option<Instant>,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener, server: &Server, proxy_protocol: ProxyProtocol) -> Self {
        let permits = Semaphore::new(server.limits.max_connections.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            listener,
            proxy_protocol,
            max_per_peer: server.limits.max_connections_per_address,
            observe: server.observe,
            registry: Arc::default(),
            permits: Arc::new(permits),
            reserved: Arc::new(Semaphore::new(RESERVED_CONNECTIONS)),
            last_logged: None,
        }
    }

    /// Returns the next connection.
    pub(super) async fn next(&mut self) -> Accepted {
        loop {
            let (tcp, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.pause(&error).await;
                    continue;
                }
            };
            let has_header = self.proxy_protocol.is_expected_from(peer.ip());
            let is_over = !has_header && self.registry.count(peer) >= self.max_per_peer;
            if is_over && !self.registry.evict_longest_waiting_of(peer) {
                (self.observe)(ConnectionEvent::Refused);
                debug!(%peer, "refused a connection: every open connection of this address has a request in flight");
                continue;
            }
            if let Err(error) = tcp.set_nodelay(true) {
                debug!(%peer, %error, "failed to set TCP_NODELAY");
            }
            let (permit, is_reserved) = self.permit(is_over).await;
            let registered = self.registry.add((!has_header).then_some(peer));
            return Accepted {
                tcp,
                peer,
                has_header,
                place: Place { registered, is_reserved, _permit: permit },
            };
        }
    }

    /// Returns a permit for a connection, and whether the connection is a reserved one. If all permits are
    /// taken, evicts the connection that has waited longest for its client. If `is_evicting` is true, an
    /// evicted connection is closing already, so its permit is awaited first.
    async fn permit(&self, mut is_evicting: bool) -> (OwnedSemaphorePermit, bool) {
        loop {
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                return (permit, false);
            }
            if !std::mem::take(&mut is_evicting)
                && !self.registry.evict_longest_waiting()
                && let Ok(permit) = Arc::clone(&self.reserved).try_acquire_owned()
            {
                return (permit, true);
            }
            // The semaphore is never closed, so an error means only that the time has passed.
            let permit = Arc::clone(&self.permits).acquire_owned();
            if let Ok(Ok(permit)) = timeout(EVICTION_WAIT, permit).await {
                return (permit, false);
            }
        }
    }

    /// Pauses after an accept error. If file descriptors run out, immediate retries would be a busy loop.
    async fn pause(&mut self, error: &io::Error) {
        // The client closed the connection while the connection was queued. This is no reason to pause.
        if error.kind() == ErrorKind::ConnectionAborted {
            return;
        }
        if self.last_logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            warn!(%error, "failed to accept connections");
            self.last_logged = Some(Instant::now());
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[tokio::test]
    async fn the_acceptor_pauses_after_an_accept_error_but_not_after_an_aborted_connection() {
        let listener = super::super::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let server = super::super::tests::server(Limits::default());
        let mut acceptor = Acceptor::new(listener, &server, ProxyProtocol::default());
        let begin = Instant::now();
        acceptor.pause(&ErrorKind::ConnectionAborted.into()).await;
        assert!(begin.elapsed() < Duration::from_millis(40));
        // EMFILE
        acceptor.pause(&io::Error::from_raw_os_error(24)).await;
        assert!(begin.elapsed() >= ACCEPT_PAUSE);
    }
}

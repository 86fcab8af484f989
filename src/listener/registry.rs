//! Lists the open connections, and selects the connection to close when there are too many.
//!
//! Invariants: a connection with a request in flight is never closed to make room. Among the other
//! connections, the connection that has waited longest for its client is closed first. Each client address
//! (IPv6: each /64) has a separate limit, so that one client can't close the connections of other clients. A
//! connection of a proxy that sends the PROXY protocol is counted after its header has arrived, by the
//! address in the header. If all places are taken, accepting such a connection closes another connection
//! before the header has arrived. The closed connection can belong to another client.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;

/// The time from which [`Presence::waiting_since`] is counted.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The value of [`Presence::waiting_since`] while a request is in flight.
const BUSY: u64 = u64::MAX;

fn micros_since_start(at: Instant) -> u64 {
    u64::try_from((at - *START).as_micros()).unwrap_or(BUSY - 1)
}

/// The state of one connection in the registry, through which the registry asks the connection to close.
#[derive(Debug)]
pub(super) struct Presence {
    /// The time since which the connection waits for its client, in microseconds since [`START`], or
    /// [`BUSY`].
    waiting_since: AtomicU64,
    evicted: AtomicBool,
    waker: OnceLock<Waker>,
}

impl Presence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting_since: AtomicU64::new(micros_since_start(now)),
            evicted: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Stores the waker of the connection's task. The waker of a connection never changes.
    pub(super) fn register(&self, cx: &Context<'_>) {
        if self.waker.get().is_none() {
            // A second call has no effect, because the first one stored the same waker.
            let _ = self.waker.set(cx.waker().clone());
        }
    }

    /// Records the time since which the connection waits for its client; `None` while a request is in flight.
    pub(super) fn set_waiting(&self, since: Option<Instant>) {
        self.waiting_since.store(since.map_or(BUSY, micros_since_start), Relaxed);
    }

    /// Returns whether the registry has asked the connection to close. The connection must then close, unless
    /// a request is in flight.
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    fn evict(&self) {
        self.evicted.store(true, Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// A client address: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Peer(u64);

impl Peer {
    fn new(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            // This number never equals the number of an IPv4 address, which begins with 32 zero bits, because
            // no global unicast IPv6 address begins with 32 zero bits.
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        })
    }
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    open: HashMap<u64, (Option<Peer>, Arc<Presence>)>,
    per_peer: HashMap<Peer, usize>,
}

impl Entries {
    fn count(&self, peer: Peer) -> usize {
        self.per_peer.get(&peer).copied().unwrap_or_default()
    }

    fn evict(&self, matches: impl Fn(Option<Peer>) -> bool) -> bool {
        let candidates = self.open.values().filter(|(peer, _)| matches(*peer));
        let longest = candidates
            .filter(|(_, presence)| !presence.is_evicted())
            .map(|(_, presence)| (presence.waiting_since.load(Relaxed), presence))
            .filter(|(since, _)| *since != BUSY)
            .min_by_key(|(since, _)| *since);
        if let Some((_, presence)) = longest {
            presence.evict();
        }
        longest.is_some()
    }
}

/// The open connections of a server.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Entries>);

impl Registry {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. If `address` is `None`, [`Registered::assign`] sets its address later. The connection is
    /// removed when the returned value is dropped.
    pub(super) fn add(self: &Arc<Self>, address: Option<SocketAddr>) -> Registered {
        let (peer, presence) = (address.map(Peer::new), Arc::new(Presence::new(Instant::now())));
        let mut entries = self.entries();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.open.insert(id, (peer, Arc::clone(&presence)));
        if let Some(peer) = peer {
            *entries.per_peer.entry(peer).or_default() += 1;
        }
        Registered { registry: Arc::clone(self), id, presence }
    }

    /// Returns the number of open connections of the address.
    pub(super) fn count(&self, address: SocketAddr) -> usize {
        self.entries().count(Peer::new(address))
    }

    /// Selects the connection that has waited longest for its client, and asks it to close. Returns `false`
    /// if every connection has a request in flight or is already closing.
    pub(super) fn evict_longest_waiting(&self) -> bool {
        self.entries().evict(|_| true)
    }

    /// Like [`Self::evict_longest_waiting`], but selects only among the connections of this address.
    pub(super) fn evict_longest_waiting_of(&self, address: SocketAddr) -> bool {
        let wanted = Peer::new(address);
        self.entries().evict(|peer| peer == Some(wanted))
    }
}

/// A connection in the registry.
#[derive(Debug)]
pub(super) struct Registered {
    registry: Arc<Registry>,
    id: u64,
    pub(super) presence: Arc<Presence>,
}

impl Registered {
    /// Sets the address of a connection that was added without an address. If the address already has `max`
    /// connections, selects the one that has waited longest for its client, and asks it to close. If each of
    /// them has a request in flight or is already closing, sets nothing and returns `false`; the caller must
    /// then close its own connection.
    pub(super) fn assign(&self, address: SocketAddr, max: usize) -> bool {
        let peer = Peer::new(address);
        let mut entries = self.registry.entries();
        if entries.count(peer) >= max && !entries.evict(|other| other == Some(peer)) {
            return false;
        }
        if let Some((assigned, _)) = entries.open.get_mut(&self.id) {
            *assigned = Some(peer);
            *entries.per_peer.entry(peer).or_default() += 1;
        }
        true
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut entries = self.registry.entries();
        let Some((Some(peer), _)) = entries.open.remove(&self.id) else { return };
        if let Some(count) = entries.per_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                entries.per_peer.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 1)
    }

    #[test]
    fn the_connection_that_waits_longest_is_closed_first_and_busy_connections_stay_open() {
        let registry = Arc::new(Registry::default());
        let [one, two, busy] = [(); 3].map(|()| registry.add(Some(address("10.0.0.1"))));
        let now = Instant::now();
        one.presence.set_waiting(Some(now));
        two.presence.set_waiting(Some(now.checked_sub(Duration::from_millis(1)).unwrap_or(now)));
        busy.presence.set_waiting(None);
        assert!(registry.evict_longest_waiting());
        assert!(two.presence.is_evicted() && !one.presence.is_evicted());
        assert!(registry.evict_longest_waiting());
        assert!(one.presence.is_evicted() && !busy.presence.is_evicted());
        assert!(!registry.evict_longest_waiting());
    }

    #[test]
    fn connections_are_counted_by_ipv4_address_and_by_ipv6_network() {
        let registry = Arc::new(Registry::default());
        let first = registry.add(Some(address("2001:db8:1:2::1")));
        let _second = registry.add(Some(address("2001:db8:1:2:ffff::9")));
        let _mapped = registry.add(Some(address("::ffff:10.0.0.1")));
        assert_eq!(registry.count(address("2001:db8:1:2::77")), 2);
        assert_eq!(registry.count(address("2001:db8:1:3::1")), 0);
        assert_eq!(registry.count(address("10.0.0.1")), 1);
        assert!(!registry.evict_longest_waiting_of(address("10.0.0.2")));
        drop(first);
        assert_eq!(registry.count(address("2001:db8:1:2::1")), 1);
    }
    // S-104
    #[test]
    fn a_connection_of_a_proxy_is_counted_by_the_address_of_its_client() {
        let registry = Arc::new(Registry::default());
        let [first, second, third] = [(); 3].map(|()| registry.add(None));
        let client = address("192.0.2.7");
        assert!(first.assign(client, 1));
        first.presence.set_waiting(None);
        assert!(!second.assign(client, 1), "the only connection has a request in flight");
        assert_eq!(registry.count(client), 1);
        first.presence.set_waiting(Some(Instant::now()));
        assert!(third.assign(client, 1));
        assert!(first.presence.is_evicted() && !second.presence.is_evicted());
        drop((first, second, third));
        assert_eq!(registry.count(client), 0);
    }
}

//! Counters through which a connection's socket, service and responses report to its watchdog.
//!
//! Invariant: no method here waits, locks or allocates. A request is in flight from the arrival of its
//! complete head until hyper takes the last byte of its response, or drops the response. So a request whose
//! response does not fit into an h2 client's window stays in flight.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

/// The activity of one connection since the watchdog's last snapshot, and its current state.
#[derive(Debug, Default)]
pub(super) struct Activity {
    read: AtomicBool,
    blocked: AtomicBool,
    h2: AtomicBool,
    abandoned: AtomicBool,
    written: AtomicUsize,
    body_sent: AtomicUsize,
    begun: AtomicU32,
    in_flight: AtomicU32,
    pending_bodies: AtomicU32,
}

/// A snapshot of an [`Activity`].
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Whether bytes arrived since the last snapshot.
    pub(super) read: bool,
    /// Whether the last write to the socket blocked.
    pub(super) blocked: bool,
    /// Bytes that the socket accepted since the last snapshot.
    pub(super) written: usize,
    /// Bytes of response bodies that hyper took for sending since the last snapshot.
    pub(super) body_sent: usize,
    /// Number of requests since the connection was accepted.
    pub(super) begun: u32,
    /// Number of requests in flight.
    pub(super) in_flight: u32,
    /// Number of response bodies, or chunks of them, that hyper has not taken completely.
    pub(super) pending_bodies: u32,
}

impl Activity {
    /// Counts a request whose head is complete. The request is in flight until the returned value is dropped.
    pub(super) fn begin(activity: &Arc<Self>) -> InFlight {
        activity.in_flight.fetch_add(1, Relaxed);
        activity.begun.fetch_add(1, Relaxed);
        InFlight(Arc::clone(activity))
    }

    /// Records that the HTTP/2 preface arrived.
    pub(super) fn mark_http2(&self) {
        self.h2.store(true, Relaxed);
    }

    /// Returns whether the connection uses HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.h2.load(Relaxed)
    }

    /// Records that the client does not read, so that closing the connection discards the kernel's send
    /// buffer.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }

    /// Returns whether [`Activity::abandon`] was called.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Relaxed)
    }

    pub(super) fn record_read(&self) {
        self.read.store(true, Relaxed);
    }

    pub(super) fn record_write(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Relaxed);
        if let Poll::Ready(Ok(written)) = written {
            self.written.fetch_add(*written, Relaxed);
        }
    }

    /// Resets the records of reads and writes.
    pub(super) fn reset(&self) {
        self.read.store(false, Relaxed);
        self.written.store(0, Relaxed);
    }

    /// Returns a snapshot, and resets the values that are counted since the last snapshot.
    pub(super) fn take(&self) -> Snapshot {
        Snapshot {
            read: self.read.swap(false, Relaxed),
            blocked: self.blocked.load(Relaxed),
            written: self.written.swap(0, Relaxed),
            body_sent: self.body_sent.swap(0, Relaxed),
            begun: self.begun.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            pending_bodies: self.pending_bodies.load(Relaxed),
        }
    }
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// Counts the request's response body as pending.
    pub(super) fn into_pending_body(self) -> PendingBody {
        self.0.pending_bodies.fetch_add(1, Relaxed);
        PendingBody(self)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A response body, or a chunk of a response body, that hyper has not taken completely.
#[derive(Debug)]
pub(super) struct PendingBody(InFlight);

impl PendingBody {
    /// Records that hyper took `bytes` of the body for sending.
    pub(super) fn record_sent(&self, bytes: usize) {
        self.0.0.body_sent.fetch_add(bytes, Relaxed);
    }
}

impl Clone for PendingBody {
    fn clone(&self) -> Self {
        let activity = &self.0.0;
        activity.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(activity)).into_pending_body()
    }
}

impl Drop for PendingBody {
    fn drop(&mut self) {
        self.0.0.pending_bodies.fetch_sub(1, Relaxed);
    }
}

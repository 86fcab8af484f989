//! What socket, service and answers of one connection tell its watchdog.
//!
//! What always holds: nothing here waits, locks or allocates. A request counts as in hand from its
//! complete head until the last byte of its answer was taken to be sent, or the answer was dropped:
//! an answer that an h2 client's window has no room for stays in hand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

/// What happened on one connection since its watchdog last looked, and what is the case now.
#[derive(Debug, Default)]
pub(super) struct Activity {
    read: AtomicBool,
    blocked: AtomicBool,
    h2: AtomicBool,
    given_up: AtomicBool,
    written: AtomicUsize,
    taken: AtomicUsize,
    begun: AtomicU32,
    in_flight: AtomicU32,
    answers: AtomicU32,
}

/// One look at a [`Activity`].
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Whether anything came since the last look.
    pub(super) read: bool,
    /// Whether the socket takes no more for now.
    pub(super) blocked: bool,
    /// Bytes that the socket took since the last look.
    pub(super) written: usize,
    /// Bytes of answers that were taken to be sent since the last look.
    pub(super) taken: usize,
    /// Requests that ever began.
    pub(super) begun: u32,
    /// Requests in hand.
    pub(super) in_flight: u32,
    /// Answers, or pieces of them, that still wait to be taken.
    pub(super) answers: u32,
}

impl Activity {
    /// A request's head is complete: it is in hand until the returned value is dropped.
    pub(super) fn begin(activity: &Arc<Self>) -> InFlight {
        activity.in_flight.fetch_add(1, Relaxed);
        activity.begun.fetch_add(1, Relaxed);
        InFlight(Arc::clone(activity))
    }

    /// The preface has come: from here on the connection speaks HTTP/2.
    pub(super) fn mark_http2(&self) {
        self.h2.store(true, Relaxed);
    }

    /// Whether the preface has come.
    pub(super) fn is_http2(&self) -> bool {
        self.h2.load(Relaxed)
    }

    /// The client does not read: what still lies in the kernel for it is to be thrown away.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Relaxed);
    }

    /// Whether the client does not read.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    pub(super) fn note_read(&self) {
        self.read.store(true, Relaxed);
    }

    pub(super) fn note_write(&self, written: &Poll<io::Result<usize>>) {
        self.blocked.store(written.is_pending(), Relaxed);
        if let Poll::Ready(Ok(written)) = written {
            self.written.fetch_add(*written, Relaxed);
        }
    }

    /// Forgets what was read and written so far.
    pub(super) fn forget(&self) {
        self.read.store(false, Relaxed);
        self.written.store(0, Relaxed);
    }

    pub(super) fn take(&self) -> Snapshot {
        Snapshot {
            read: self.read.swap(false, Relaxed),
            blocked: self.blocked.load(Relaxed),
            written: self.written.swap(0, Relaxed),
            taken: self.taken.swap(0, Relaxed),
            begun: self.begun.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            answers: self.answers.load(Relaxed),
        }
    }
}

/// One request in hand.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// The answer is there; what is left is to have it taken.
    pub(super) fn answering(self) -> Answering {
        self.0.answers.fetch_add(1, Relaxed);
        Answering(self)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// One answer, or a piece of one, that waits to be taken.
#[derive(Debug)]
pub(super) struct Answering(InFlight);

impl Answering {
    /// So many bytes of it were taken.
    pub(super) fn note_taken(&self, bytes: usize) {
        self.0.0.taken.fetch_add(bytes, Relaxed);
    }
}

impl Clone for Answering {
    fn clone(&self) -> Self {
        let activity = &self.0.0;
        activity.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(activity)).answering()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.answers.fetch_sub(1, Relaxed);
    }
}

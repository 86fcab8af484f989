//! The deadlines of one connection.
//!
//! [`Deadlines`] wraps the socket and only notes what moves; [`Watchdog`] lives in the connection's
//! task, is polled after the connection and says when its time is up. hyper's own
//! `header_read_timeout` is not used: it counts the idle time between two requests too, so it can't
//! tell a slow header from an idle phone.
//!
//! What always holds: while a request is in hand no read deadline runs here (the body's deadline is
//! kept where bodies are read); one timer per connection, which is moved only when a deadline comes
//! nearer, so an undisturbed request costs one look at the clock for each poll of its task.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// What socket and service of one connection tell its watchdog.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    read: AtomicBool,
    wrote: AtomicBool,
    blocked: AtomicBool,
    h2: AtomicBool,
    begun: AtomicU32,
    in_flight: AtomicU32,
}

impl Pulse {
    /// A request's head is complete: it is in hand until the returned value is dropped.
    pub(super) fn begin(pulse: &Arc<Self>) -> InFlight {
        pulse.in_flight.fetch_add(1, Ordering::Relaxed);
        pulse.begun.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(pulse))
    }

    /// The preface has come: from here on the connection speaks HTTP/2.
    pub(super) fn is_h2(&self) {
        self.h2.store(true, Ordering::Relaxed);
    }

    /// Whether the preface has come.
    pub(super) fn speaks_h2(&self) -> bool {
        self.h2.load(Ordering::Relaxed)
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Pending => self.blocked.store(true, Ordering::Relaxed),
            Poll::Ready(_) => {
                self.blocked.store(false, Ordering::Relaxed);
                self.wrote.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// One request in hand.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Pulse>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket that notes what moves. It sits beneath TLS, where a drop of progress is still visible.
#[derive(Debug)]
pub(super) struct Deadlines<IO> {
    io: IO,
    pulse: Arc<Pulse>,
}

impl<IO> Deadlines<IO> {
    pub(super) const fn new(io: IO, pulse: Arc<Pulse>) -> Self {
        Self { io, pulse }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Deadlines<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.read.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Deadlines<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.pulse.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.pulse.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    FirstByte,
    Header,
    Idle,
    WriteStall,
}

impl Expired {
    /// The name for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FirstByte => "nothing came",
            Self::Header => "the request head took too long",
            Self::Idle => "idle",
            Self::WriteStall => "the client does not read",
        }
    }
}

/// What the connection waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fresh(Instant),
    Head(Instant),
    Busy,
    Idle(Instant),
    Draining(Instant),
}

/// Says when a connection's time is up.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    phase: Phase,
    blocked: Option<Instant>,
    begun: u32,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Starts to wait for the first byte; what the TLS handshake read and wrote is forgotten.
    pub(super) fn new(limits: Limits, pulse: &Pulse) -> Self {
        pulse.read.store(false, Ordering::Relaxed);
        pulse.wrote.store(false, Ordering::Relaxed);
        Self { limits, phase: Phase::Fresh(Instant::now()), blocked: None, begun: 0, sleep: None }
    }

    /// The connection was told to finish; it has as long as a request head for its farewell.
    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining(Instant::now());
    }

    /// Ready when a deadline has passed. To be polled after the connection, in the same task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pulse: &Pulse) -> Poll<Expired> {
        let now = Instant::now();
        self.look(pulse, now);
        let Some((deadline, expired)) = self.deadline() else {
            return Poll::Pending;
        };
        if deadline <= now {
            return Poll::Ready(expired);
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // A timer that is set too early only wakes the task once, to be set anew; moving it at each
        // request would cost more.
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes in what happened since the last look.
    fn look(&mut self, pulse: &Pulse, now: Instant) {
        let read = pulse.read.swap(false, Ordering::Relaxed);
        let wrote = pulse.wrote.swap(false, Ordering::Relaxed);
        let blocked = pulse.blocked.load(Ordering::Relaxed);
        let begun = pulse.begun.load(Ordering::Relaxed);
        let answered = begun != self.begun || self.phase == Phase::Busy;
        self.begun = begun;
        self.blocked = match self.blocked {
            _ if !blocked => None,
            Some(since) if !wrote => Some(since),
            _ => Some(now),
        };
        self.phase = if pulse.in_flight.load(Ordering::Relaxed) > 0 {
            Phase::Busy
        } else if answered {
            Phase::Idle(now)
        } else if pulse.speaks_h2() {
            // Answers to pings are bytes too, but no sign of use: idle counts from the last request.
            match self.phase {
                Phase::Fresh(_) | Phase::Head(_) => Phase::Idle(now),
                phase => phase,
            }
        } else {
            match self.phase {
                Phase::Fresh(_) | Phase::Idle(_) if read => Phase::Head(now),
                // The last answer is still leaving: a pipelined head may not be taken up yet.
                Phase::Head(_) if wrote || blocked => Phase::Head(now),
                Phase::Idle(_) if wrote || blocked => Phase::Idle(now),
                phase => phase,
            }
        };
    }

    /// The deadline that runs now. Where a write is stuck, that decides alone.
    fn deadline(&self) -> Option<(Instant, Expired)> {
        if let Some(since) = self.blocked {
            return Some((since + self.limits.write_stall, Expired::WriteStall));
        }
        match self.phase {
            Phase::Fresh(since) => Some((since + self.limits.first_byte, Expired::FirstByte)),
            Phase::Head(since) => Some((since + self.limits.header, Expired::Header)),
            Phase::Busy => None,
            Phase::Idle(since) => Some((since + self.limits.idle, Expired::Idle)),
            Phase::Draining(since) => Some((since + self.limits.header, Expired::Idle)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fixture() -> (Arc<Pulse>, Watchdog, Instant) {
        let pulse = Arc::new(Pulse::default());
        let dog = Watchdog::new(Limits::default(), &pulse);
        let Phase::Fresh(start) = dog.phase else { unreachable!() };
        (pulse, dog, start)
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn a_drip_of_header_bytes_extends_nothing() {
        let (pulse, mut dog, start) = fixture();
        assert_eq!(dog.deadline(), Some((start + secs(10), Expired::FirstByte)));
        for second in 1..4 {
            pulse.read.store(true, Ordering::Relaxed);
            dog.look(&pulse, start + secs(second));
        }
        assert_eq!(dog.deadline(), Some((start + secs(6), Expired::Header)));
    }

    #[tokio::test]
    async fn no_deadline_runs_while_a_request_is_in_hand() {
        let (pulse, mut dog, start) = fixture();
        pulse.read.store(true, Ordering::Relaxed);
        let flight = Pulse::begin(&pulse);
        dog.look(&pulse, start);
        assert_eq!(dog.deadline(), None);
        drop(flight);
        dog.look(&pulse, start + secs(60));
        assert_eq!(dog.deadline(), Some((start + secs(135), Expired::Idle)));
    }

    #[tokio::test]
    async fn a_request_that_came_and_went_unseen_leaves_an_idle_connection() {
        let (pulse, mut dog, start) = fixture();
        pulse.read.store(true, Ordering::Relaxed);
        drop(Pulse::begin(&pulse));
        dog.look(&pulse, start);
        assert_eq!(dog.deadline(), Some((start + secs(75), Expired::Idle)));
    }

    #[tokio::test]
    async fn pings_do_not_keep_an_unused_h2_connection() {
        let (pulse, mut dog, start) = fixture();
        pulse.is_h2();
        for second in [1, 20, 40] {
            pulse.read.store(true, Ordering::Relaxed);
            pulse.note_write(&Poll::Ready(Ok(17)));
            dog.look(&pulse, start + secs(second));
        }
        assert_eq!(dog.deadline(), Some((start + secs(76), Expired::Idle)));
    }

    #[tokio::test]
    async fn a_stuck_write_counts_from_its_last_progress() {
        let (pulse, mut dog, start) = fixture();
        let _flight = Pulse::begin(&pulse);
        pulse.note_write(&Poll::Pending);
        dog.look(&pulse, start);
        dog.look(&pulse, start + secs(4));
        assert_eq!(dog.deadline(), Some((start + secs(10), Expired::WriteStall)));
        pulse.note_write(&Poll::Ready(Ok(1)));
        pulse.note_write(&Poll::Pending);
        dog.look(&pulse, start + secs(5));
        assert_eq!(dog.deadline(), Some((start + secs(15), Expired::WriteStall)));
        pulse.note_write(&Poll::Ready(Ok(1)));
        dog.look(&pulse, start + secs(6));
        assert_eq!(dog.deadline(), None);
    }
}

//! The deadlines of one connection.
//!
//! [`MonitoredStream`] wraps the socket and only notes what moves; [`Watchdog`] lives in the connection's
//! task, is polled after the connection and says when its time is up. hyper's own
//! `header_read_timeout` is not used: it counts the idle time between two requests too, so it can't
//! tell a slow header from an idle phone.
//!
//! What always holds: while a request is in hand no read deadline runs here (the body's deadline is
//! kept where bodies are read); whatever waits for the client to take it, in the socket or behind an
//! h2 window, has to move at [`Limits::write_rate`] or better; one timer per connection, which is
//! moved only when a deadline comes nearer, so an undisturbed request costs one look at the clock for
//! each poll of its task.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::Limits;
use super::activity::Activity;
use super::lingering_close::Closing;

/// A socket that notes what moves. It sits beneath TLS, where a drop of progress is still visible.
#[derive(Debug)]
pub(super) struct MonitoredStream {
    io: TcpStream,
    activity: Arc<Activity>,
    /// Once our side is closed.
    closing: Option<Closing>,
}

impl MonitoredStream {
    pub(super) const fn new(io: TcpStream, activity: Arc<Activity>) -> Self {
        Self { io, activity, closing: None }
    }
}

impl Drop for MonitoredStream {
    /// Closes a client that does not read with a reset: the kernel would go on for minutes to offer it
    /// what it has.
    fn drop(&mut self) {
        if self.activity.is_given_up()
            && let Err(error) = self.io.set_zero_linger()
        {
            debug!(%error, "SO_LINGER");
        }
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.note_read();
        }
        read
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.activity.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, closing, .. } = &mut *self;
        if closing.is_none() {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
        }
        closing.get_or_insert_with(Closing::new).poll(io, cx).map(Ok)
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    FirstByte,
    Header,
    Idle,
    WriteStall,
    AnswerStall,
}

impl Timeout {
    /// The name for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FirstByte => "nothing came",
            Self::Header => "the request head took too long",
            Self::Idle => "idle",
            Self::WriteStall => "the client reads too slowly",
            Self::AnswerStall => "the client takes its answers too slowly",
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

/// How many times the first wait may last that of a client which has kept pace for as long.
const TIMEOUT: u32 = 3;

/// Until when something that waits for the client may go on as it does.
///
/// Every byte that moves buys the time that it takes at the least rate, so a drip buys next to
/// nothing. It can be bought ahead no further than [`Limits::write_stall`] and the time for which the
/// client has kept pace: reading shows in steps (a socket frees room for tens of KiB at a time, an h2
/// client reports half a window, commonly 32 KiB), which at 2 KiB/s are far between, but a kernel
/// that fills its buffers in an instant is not yet a client that reads.
#[derive(Clone, Copy, Debug)]
struct MinimumRate {
    since: Instant,
    until: Instant,
}

impl MinimumRate {
    /// What becomes of `pace`, now that `moved` more bytes have left; nothing unless some wait.
    fn next(pace: Option<Self>, waits: bool, moved: usize, now: Instant, limits: &Limits) -> Option<Self> {
        let stall = limits.write_stall;
        waits.then(|| match pace {
            None => Self { since: now, until: now + stall },
            Some(Self { since, until }) => {
                let moved = u32::try_from(moved).unwrap_or(u32::MAX);
                let bought = Duration::from_secs(1) * moved / limits.write_rate.max(1);
                let ahead = (stall + (now - since)).min(TIMEOUT * stall);
                Self { since, until: (until + bought).min(now + ahead) }
            }
        })
    }
}

/// Says when a connection's time is up.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    phase: Phase,
    /// Of what the socket does not take.
    writing: Option<MinimumRate>,
    /// Of what an h2 client's window has no room for.
    answering: Option<MinimumRate>,
    begun: u32,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Starts to wait for the first byte; what the TLS handshake read and wrote is forgotten.
    pub(super) fn new(limits: Limits, activity: &Activity) -> Self {
        activity.forget();
        let phase = Phase::Fresh(Instant::now());
        Self { limits, phase, writing: None, answering: None, begun: 0, sleep: None }
    }

    /// The connection was told to finish; it has as long as a request head for its farewell.
    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining(Instant::now());
    }

    /// Ready when a deadline has passed. To be polled after the connection, in the same task.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<Timeout> {
        let now = Instant::now();
        self.look(activity, now);
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
    fn look(&mut self, activity: &Activity, now: Instant) {
        let seen = activity.take();
        let (read, wrote, blocked) = (seen.read, seen.written > 0, seen.blocked);
        let answered = seen.begun != self.begun || self.phase == Phase::Busy;
        self.begun = seen.begun;
        self.writing = MinimumRate::next(self.writing, blocked, seen.written, now, &self.limits);
        self.answering = MinimumRate::next(self.answering, seen.answers > 0, seen.taken, now, &self.limits);
        self.phase = if seen.in_flight > 0 {
            Phase::Busy
        } else if answered {
            Phase::Idle(now)
        } else if activity.is_http2() {
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

    /// The deadline that runs now. Where something waits to be taken, that decides alone.
    fn deadline(&self) -> Option<(Instant, Timeout)> {
        let writing = self.writing.map(|pace| (pace.until, Timeout::WriteStall));
        let answering = self.answering.map(|pace| (pace.until, Timeout::AnswerStall));
        match (writing, answering) {
            (Some(one), Some(other)) => return Some(if other.0 < one.0 { other } else { one }),
            (None, None) => {}
            (one, other) => return one.or(other),
        }
        match self.phase {
            Phase::Fresh(since) => Some((since + self.limits.first_byte, Timeout::FirstByte)),
            Phase::Head(since) => Some((since + self.limits.header, Timeout::Header)),
            Phase::Busy => None,
            Phase::Idle(since) => Some((since + self.limits.idle, Timeout::Idle)),
            Phase::Draining(since) => Some((since + self.limits.header, Timeout::Idle)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (Arc<Activity>, Watchdog, Instant) {
        let activity = Arc::new(Activity::default());
        let watchdog = Watchdog::new(Limits::default(), &activity);
        let Phase::Fresh(start) = watchdog.phase else { unreachable!() };
        (activity, watchdog, start)
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test]
    async fn a_drip_of_header_bytes_extends_nothing() {
        let (activity, mut watchdog, start) = fixture();
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::FirstByte)));
        for second in 1..4 {
            activity.note_read();
            watchdog.look(&activity, start + secs(second));
        }
        assert_eq!(watchdog.deadline(), Some((start + secs(6), Timeout::Header)));
    }

    #[tokio::test]
    async fn no_deadline_runs_while_a_request_is_in_hand() {
        let (activity, mut watchdog, start) = fixture();
        activity.note_read();
        let flight = Activity::begin(&activity);
        watchdog.look(&activity, start);
        assert_eq!(watchdog.deadline(), None);
        drop(flight);
        watchdog.look(&activity, start + secs(60));
        assert_eq!(watchdog.deadline(), Some((start + secs(135), Timeout::Idle)));
    }

    #[tokio::test]
    async fn a_request_that_came_and_went_unseen_leaves_an_idle_connection() {
        let (activity, mut watchdog, start) = fixture();
        activity.note_read();
        drop(Activity::begin(&activity));
        watchdog.look(&activity, start);
        assert_eq!(watchdog.deadline(), Some((start + secs(75), Timeout::Idle)));
    }

    #[tokio::test]
    async fn pings_do_not_keep_an_unused_h2_connection() {
        let (activity, mut watchdog, start) = fixture();
        activity.mark_http2();
        for second in [1, 20, 40] {
            activity.note_read();
            activity.note_write(&Poll::Ready(Ok(17)));
            watchdog.look(&activity, start + secs(second));
        }
        assert_eq!(watchdog.deadline(), Some((start + secs(76), Timeout::Idle)));
    }

    #[tokio::test]
    async fn a_stuck_write_is_given_time_by_the_byte() {
        // S-75
        let (activity, mut watchdog, start) = fixture();
        let _flight = Activity::begin(&activity);
        activity.note_write(&Poll::Ready(Ok(1 << 20)));
        activity.note_write(&Poll::Pending);
        watchdog.look(&activity, start);
        watchdog.look(&activity, start + secs(4));
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::WriteStall)));
        // A drip is worth what it weighs: eight bytes of 1,024 a second.
        for second in 1..9 {
            activity.note_write(&Poll::Ready(Ok(1)));
            activity.note_write(&Poll::Pending);
            watchdog.look(&activity, start + secs(second));
        }
        let (mut until, _) = watchdog.deadline().unwrap();
        assert!((start + secs(10)..start + Duration::from_millis(10_008)).contains(&until));
        // A phone at 2 KiB/s is waited for however long it takes, even if that shows in steps.
        for second in (9..600).step_by(16) {
            assert!(until > start + secs(second), "{second}");
            activity.note_write(&Poll::Ready(Ok(32 * 1_024)));
            activity.note_write(&Poll::Pending);
            watchdog.look(&activity, start + secs(second));
            until = watchdog.deadline().unwrap().0;
        }
        assert_eq!(until, start + secs(585 + 30));
        activity.note_write(&Poll::Ready(Ok(1)));
        watchdog.look(&activity, start + secs(600));
        assert_eq!(watchdog.deadline(), None);
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_a_window_is_given_time_by_the_byte() {
        // S-75
        let (activity, mut watchdog, start) = fixture();
        activity.mark_http2();
        let answering = Activity::begin(&activity).answering();
        watchdog.look(&activity, start);
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::AnswerStall)));
        // Neither pings nor what else is sent count, only the answers' own bytes.
        activity.note_write(&Poll::Ready(Ok(1 << 20)));
        watchdog.look(&activity, start + secs(5));
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::AnswerStall)));
        answering.note_taken(2_048);
        watchdog.look(&activity, start + secs(6));
        assert_eq!(watchdog.deadline(), Some((start + secs(12), Timeout::AnswerStall)));
        // Half of a common window has come through.
        answering.note_taken(32 * 1_024);
        watchdog.look(&activity, start + secs(7));
        assert_eq!(watchdog.deadline(), Some((start + secs(24), Timeout::AnswerStall)));
        // A second piece of the same answer, and then none.
        let piece = answering.clone();
        drop(answering);
        watchdog.look(&activity, start + secs(8));
        assert_eq!(watchdog.deadline(), Some((start + secs(24), Timeout::AnswerStall)));
        drop(piece);
        watchdog.look(&activity, start + secs(9));
        assert_eq!(watchdog.deadline(), Some((start + secs(84), Timeout::Idle)));
    }
}

//! The deadlines of one connection.
//!
//! [`Watchdog`] is polled in the connection's task, after the connection, and reports when a deadline has
//! passed. hyper's own `header_read_timeout` is not used: it includes the idle time between two requests, so
//! it can't distinguish a slow header from an idle client.
//!
//! Invariants: while a request is in flight, no read deadline runs here (the deadline of the body is
//! enforced where bodies are read). Output that waits for the client, in the socket or for an h2 window,
//! must progress at [`Limits::write_rate`] or faster. Each connection has one timer, which is reset
//! only to an earlier deadline or after it fired, so a normal request costs one clock reading per poll
//! of its task.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;
use super::activity::Activity;
use super::registry::Presence;

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    FirstByte,
    Header,
    Idle,
    WriteStall,
    WindowStall,
    /// No deadline passed: the connection makes room for another connection.
    Evicted,
}

impl Timeout {
    /// Returns the reason for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::FirstByte => "no byte arrived in time",
            Self::Header => "the request head took too long",
            Self::Idle => "idle",
            Self::WriteStall => "the client reads too slowly",
            Self::WindowStall => "the client opens its HTTP/2 window too slowly",
            Self::Evicted => "closed to make room for a new connection",
        }
    }
}

/// The state of the connection, with the time at which the state began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fresh(Instant),
    Head(Instant),
    Busy,
    Idle(Instant),
    Draining(Instant),
}

/// The maximum distance from now to the deadline for a client that reads fast enough, as a multiple of
/// [`Limits::write_stall`].
const MAX_STALL_FACTOR: u32 = 3;

/// The deadline of pending output, extended as the client reads the output.
///
/// Every byte sent extends the deadline by the time that it takes at the minimum rate, so a few bytes extend
/// the deadline only very little. The deadline is ahead of now by at most [`Limits::write_stall`] plus the
/// time since the output became pending. This bound grows because progress becomes visible only in steps: a
/// socket frees tens of KiB at a time, and an h2 client reports half a window, commonly 32 KiB. At 2 KiB/s,
/// these steps are far apart. The bound is small at first because a kernel that fills its buffers in an
/// instant does not prove that the client reads.
#[derive(Clone, Copy, Debug)]
struct MinimumRate {
    pending_since: Instant,
    deadline: Instant,
}

impl MinimumRate {
    /// Returns the rate after `sent` more bytes were sent, or `None` if no output is pending.
    fn next(
        current: Option<Self>,
        is_pending: bool,
        sent: usize,
        now: Instant,
        limits: &Limits,
    ) -> Option<Self> {
        let stall = limits.write_stall;
        is_pending.then(|| match current {
            None => Self { pending_since: now, deadline: now + stall },
            Some(Self { pending_since, deadline }) => {
                let sent = u32::try_from(sent).unwrap_or(u32::MAX);
                let extension = Duration::from_secs(1) * sent / limits.write_rate.max(1);
                let max_ahead = (stall + (now - pending_since)).min(MAX_STALL_FACTOR * stall);
                Self { pending_since, deadline: (deadline + extension).min(now + max_ahead) }
            }
        })
    }
}

/// Reports when a deadline of a connection has passed.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    phase: Phase,
    /// The minimum rate for output that the socket does not accept yet.
    socket_rate: Option<MinimumRate>,
    /// The minimum rate for response bodies that wait for an h2 client's window.
    window_rate: Option<MinimumRate>,
    begun: u32,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Starts the deadline of the first byte. Ignores the bytes of the TLS handshake.
    pub(super) fn new(limits: Limits, activity: &Activity) -> Self {
        activity.reset();
        let phase = Phase::Fresh(Instant::now());
        Self { limits, phase, socket_rate: None, window_rate: None, begun: 0, sleep: None }
    }

    /// Starts the deadline of a graceful shutdown, which is [`Limits::header`] from now.
    pub(super) fn drain(&mut self) {
        self.phase = Phase::Draining(Instant::now());
    }

    /// Returns ready when a deadline has passed, or when the connection waits for its client and must make
    /// room for another connection. Must be polled after the connection, in the same task.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        activity: &Activity,
        presence: &Presence,
    ) -> Poll<Timeout> {
        let now = Instant::now();
        self.update(activity, now);
        let waiting_since = self.waiting_since();
        presence.set_waiting(waiting_since);
        if waiting_since.is_some() && presence.is_evicted() {
            return Poll::Ready(Timeout::Evicted);
        }
        let Some((deadline, expired)) = self.deadline() else {
            return Poll::Pending;
        };
        if deadline <= now {
            return Poll::Ready(expired);
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // A timer that fires too early wakes the task once and is then reset. Resetting the timer at each
        // request would cost more.
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Returns the time since which the connection waits for its client; `None` while a request is in flight,
    /// and while the connection drains.
    const fn waiting_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Fresh(since) | Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Busy | Phase::Draining(_) => None,
        }
    }

    /// Updates the phase and the rates with the activity since the last call.
    fn update(&mut self, activity: &Activity, now: Instant) {
        let seen = activity.take();
        let (read, wrote, blocked) = (seen.read, seen.written > 0, seen.blocked);
        let has_finished = seen.begun != self.begun || self.phase == Phase::Busy;
        let limits = &self.limits;
        self.begun = seen.begun;
        self.socket_rate = MinimumRate::next(self.socket_rate, blocked, seen.written, now, limits);
        let is_pending = seen.pending_bodies > 0;
        self.window_rate = MinimumRate::next(self.window_rate, is_pending, seen.body_sent, now, limits);
        self.phase = if seen.in_flight > 0 {
            Phase::Busy
        } else if has_finished {
            Phase::Idle(now)
        } else if activity.is_http2() {
            // Replies to pings are also bytes, but they are not requests. The idle time begins at the last
            // request.
            match self.phase {
                Phase::Fresh(_) | Phase::Head(_) => Phase::Idle(now),
                phase => phase,
            }
        } else {
            match self.phase {
                Phase::Fresh(_) | Phase::Idle(_) if read => Phase::Head(now),
                // The last response is still being sent, and hyper reads a pipelined head only after that.
                Phase::Head(_) if wrote || blocked => Phase::Head(now),
                Phase::Idle(_) if wrote || blocked => Phase::Idle(now),
                phase => phase,
            }
        };
    }

    /// Returns the current deadline. While output is pending, only the minimum rate applies.
    fn deadline(&self) -> Option<(Instant, Timeout)> {
        let socket = self.socket_rate.map(|rate| (rate.deadline, Timeout::WriteStall));
        let window = self.window_rate.map(|rate| (rate.deadline, Timeout::WindowStall));
        match (socket, window) {
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
    use std::sync::Arc;

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
    async fn single_header_bytes_do_not_extend_the_header_deadline() {
        let (activity, mut watchdog, start) = fixture();
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::FirstByte)));
        for second in 1..4 {
            activity.record_read();
            watchdog.update(&activity, start + secs(second));
        }
        assert_eq!(watchdog.deadline(), Some((start + secs(6), Timeout::Header)));
    }

    #[tokio::test]
    async fn no_deadline_runs_while_a_request_is_in_flight() {
        let (activity, mut watchdog, start) = fixture();
        activity.record_read();
        let flight = Activity::begin(&activity);
        watchdog.update(&activity, start);
        assert_eq!(watchdog.deadline(), None);
        drop(flight);
        watchdog.update(&activity, start + secs(60));
        assert_eq!(watchdog.deadline(), Some((start + secs(135), Timeout::Idle)));
    }

    #[tokio::test]
    async fn the_idle_deadline_starts_if_a_request_begins_and_ends_between_two_updates_of_the_watchdog() {
        let (activity, mut watchdog, start) = fixture();
        activity.record_read();
        drop(Activity::begin(&activity));
        watchdog.update(&activity, start);
        assert_eq!(watchdog.deadline(), Some((start + secs(75), Timeout::Idle)));
    }

    #[tokio::test]
    async fn pings_do_not_extend_the_idle_deadline_of_h2() {
        let (activity, mut watchdog, start) = fixture();
        activity.mark_http2();
        for second in [1, 20, 40] {
            activity.record_read();
            activity.record_write(&Poll::Ready(Ok(17)));
            watchdog.update(&activity, start + secs(second));
        }
        assert_eq!(watchdog.deadline(), Some((start + secs(76), Timeout::Idle)));
    }

    #[tokio::test]
    async fn each_byte_written_extends_the_deadline_of_a_blocked_write() {
        // S-75
        let (activity, mut watchdog, start) = fixture();
        let _flight = Activity::begin(&activity);
        activity.record_write(&Poll::Ready(Ok(1 << 20)));
        activity.record_write(&Poll::Pending);
        watchdog.update(&activity, start);
        watchdog.update(&activity, start + secs(4));
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::WriteStall)));
        // Eight single bytes extend the deadline by 8/1,024 of a second.
        for second in 1..9 {
            activity.record_write(&Poll::Ready(Ok(1)));
            activity.record_write(&Poll::Pending);
            watchdog.update(&activity, start + secs(second));
        }
        let (mut until, _) = watchdog.deadline().unwrap();
        assert!((start + secs(10)..start + Duration::from_millis(10_008)).contains(&until));
        // A client at 2 KiB/s never times out, even if its progress is visible only in large steps.
        for second in (9..600).step_by(16) {
            assert!(until > start + secs(second), "{second}");
            activity.record_write(&Poll::Ready(Ok(32 * 1_024)));
            activity.record_write(&Poll::Pending);
            watchdog.update(&activity, start + secs(second));
            until = watchdog.deadline().unwrap().0;
        }
        assert_eq!(until, start + secs(585 + 30));
        activity.record_write(&Poll::Ready(Ok(1)));
        watchdog.update(&activity, start + secs(600));
        assert_eq!(watchdog.deadline(), None);
    }

    #[tokio::test]
    async fn each_body_byte_sent_extends_the_deadline_of_a_closed_flow_control_window() {
        // S-75
        let (activity, mut watchdog, start) = fixture();
        activity.mark_http2();
        let pending = Activity::begin(&activity).into_pending_body();
        watchdog.update(&activity, start);
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::WindowStall)));
        // Only bytes of response bodies extend the deadline, not pings or other output.
        activity.record_write(&Poll::Ready(Ok(1 << 20)));
        watchdog.update(&activity, start + secs(5));
        assert_eq!(watchdog.deadline(), Some((start + secs(10), Timeout::WindowStall)));
        pending.record_sent(2_048);
        watchdog.update(&activity, start + secs(6));
        assert_eq!(watchdog.deadline(), Some((start + secs(12), Timeout::WindowStall)));
        // The server sent 32 KiB: half of the flow-control window of common clients.
        pending.record_sent(32 * 1_024);
        watchdog.update(&activity, start + secs(7));
        assert_eq!(watchdog.deadline(), Some((start + secs(24), Timeout::WindowStall)));
        // A chunk is still pending after its body has ended, so the deadline stays until the chunk is sent.
        let chunk = pending.clone();
        drop(pending);
        watchdog.update(&activity, start + secs(8));
        assert_eq!(watchdog.deadline(), Some((start + secs(24), Timeout::WindowStall)));
        drop(chunk);
        watchdog.update(&activity, start + secs(9));
        assert_eq!(watchdog.deadline(), Some((start + secs(84), Timeout::Idle)));
    }
}

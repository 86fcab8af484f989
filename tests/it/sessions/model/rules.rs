//! The refresh rules of the API contract for one session.
//!
//! Refresh tokens are numbered from 0 in the order in which they were first issued. This module does
//! not depend on the token format or on the server's storage.

/// The idle timeout of a session, in seconds.
pub(super) const IDLE_SECS: i64 = 60 * 86_400;
/// The absolute timeout of a session, in seconds.
const ABSOLUTE_SECS: i64 = 365 * 86_400;
/// The grace period in which the previous token is always accepted, in seconds.
const GRACE_SECS: i64 = 30;

/// The expected response to a refresh token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The token with this number.
    Gives(usize),
    /// A rejection; the session is revoked afterwards.
    Refuses,
    /// Either: another replica has seen use of the successor and records it soon.
    Either(usize),
}

/// The state of a session.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The number of the newest token.
    pub(super) newest: usize,
    /// Revoked before its expiry.
    pub(super) dead: bool,
    expires_at: i64,
    idle_until: i64,
    rotated_at: i64,
    /// The newest token whose access token was used.
    proven: usize,
    /// The replicas that saw this use themselves.
    saw: Vec<bool>,
    /// Whether the use is recorded for all replicas.
    written: bool,
}

impl Rules {
    pub(super) fn new(replicas: usize, now: i64) -> Self {
        Self {
            newest: 0,
            dead: false,
            expires_at: now + ABSOLUTE_SECS,
            idle_until: now + IDLE_SECS,
            rotated_at: now,
            proven: 0,
            saw: vec![false; replicas],
            written: false,
        }
    }

    pub(super) fn lives(&self, now: i64) -> bool {
        !self.dead && now < self.idle_until
    }

    /// Returns the expected response to the token with this number.
    pub(super) fn verdict(&self, shown: usize, replica: usize, now: i64) -> Verdict {
        let successor = shown + 1;
        if !self.lives(now) || successor < self.newest {
            Verdict::Refuses
        } else if successor > self.newest || now - self.rotated_at <= GRACE_SECS || self.proven < self.newest
        {
            Verdict::Gives(successor)
        } else if self.written || self.saw[replica] {
            Verdict::Refuses
        } else {
            Verdict::Either(successor)
        }
    }

    /// Records that a refresh token was exchanged for the next one.
    pub(super) fn given(&mut self, number: usize, now: i64) {
        if number > self.newest {
            self.newest = number;
            self.rotated_at = now;
        }
        self.idle_until = self.expires_at.min(now + IDLE_SECS);
    }

    /// Records a revocation, by a request or by the use of a stolen token.
    pub(super) fn ended(&mut self, now: i64) {
        self.dead |= self.lives(now);
    }

    /// Records use of the access token that was issued with this refresh token.
    pub(super) fn used(&mut self, number: usize, replica: usize) {
        if number > self.proven {
            self.proven = number;
            self.saw.fill(false);
            self.written = false;
        }
        self.saw[replica] |= number == self.proven;
    }

    /// Records that the replica flushed its token usage.
    pub(super) fn wrote(&mut self, replica: usize) {
        self.written |= self.saw[replica];
    }

    /// Records that the replica lost its unflushed token usage.
    pub(super) fn forgot(&mut self, replica: usize) {
        self.saw[replica] = false;
    }
}

//! The refresh rules of the API contract for one session.
//!
//! The index of a refresh token counts from 0, in the order in which the tokens were first issued. This
//! module does not depend on the token format or on the server's storage.

/// The idle timeout of a session, in seconds.
pub(super) const IDLE_SECS: i64 = 60 * 86_400;
/// The absolute timeout of a session, in seconds.
const ABSOLUTE_SECS: i64 = 365 * 86_400;
/// The grace period in which the previous token is always accepted, in seconds.
const GRACE_SECS: i64 = 30;

/// The expected response to a refresh token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// A grant with the refresh token of this index.
    Accept(usize),
    /// A rejection; the session is revoked afterwards.
    Reject,
    /// A grant with this refresh token, or a rejection: another replica has seen a use of the new access
    /// token, but may not have recorded this use yet.
    Either(usize),
}

/// The state of a session.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The index of the newest refresh token.
    pub(super) newest: usize,
    /// Whether the session was revoked before its expiry.
    pub(super) is_revoked: bool,
    expires_at: i64,
    idle_until: i64,
    rotated_at: i64,
    /// The index of the newest refresh token whose access token was used.
    confirmed: usize,
    /// For each replica, whether it received a request with the access token of `confirmed`.
    seen_by: Vec<bool>,
    /// Whether a use of the access token of `confirmed` is recorded in the database, which all replicas read.
    is_recorded: bool,
}

impl Rules {
    pub(super) fn new(replicas: usize, now: i64) -> Self {
        Self {
            newest: 0,
            is_revoked: false,
            expires_at: now + ABSOLUTE_SECS,
            idle_until: now + IDLE_SECS,
            rotated_at: now,
            confirmed: 0,
            seen_by: vec![false; replicas],
            is_recorded: false,
        }
    }

    pub(super) fn is_active(&self, now: i64) -> bool {
        !self.is_revoked && now < self.idle_until
    }

    /// Returns the expected response to the refresh token with the index `presented`.
    pub(super) fn verdict(&self, presented: usize, replica: usize, now: i64) -> Verdict {
        let successor = presented + 1;
        if !self.is_active(now) || successor < self.newest {
            Verdict::Reject
        } else if successor > self.newest
            || now - self.rotated_at <= GRACE_SECS
            || self.confirmed < self.newest
        {
            Verdict::Accept(successor)
        } else if self.is_recorded || self.seen_by[replica] {
            Verdict::Reject
        } else {
            Verdict::Either(successor)
        }
    }

    /// Records that a refresh token was exchanged for the refresh token with this index.
    pub(super) fn record_grant(&mut self, index: usize, now: i64) {
        if index > self.newest {
            self.newest = index;
            self.rotated_at = now;
        }
        self.idle_until = self.expires_at.min(now + IDLE_SECS);
    }

    /// Records a revocation, by a request or by the use of a stolen token.
    pub(super) fn revoke(&mut self, now: i64) {
        self.is_revoked |= self.is_active(now);
    }

    /// Records a use of the access token that was issued with the refresh token of this index.
    pub(super) fn record_use(&mut self, index: usize, replica: usize) {
        if index > self.confirmed {
            self.confirmed = index;
            self.seen_by.fill(false);
            self.is_recorded = false;
        }
        self.seen_by[replica] |= index == self.confirmed;
    }

    /// Records that the replica flushed its token usage.
    pub(super) fn record_flush(&mut self, replica: usize) {
        self.is_recorded |= self.seen_by[replica];
    }

    /// Records that the replica lost its unflushed token usage.
    pub(super) fn forget_unflushed(&mut self, replica: usize) {
        self.seen_by[replica] = false;
    }
}

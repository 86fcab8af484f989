//! The rules of refreshing as the contract states them, for one session.
//!
//! Its refresh tokens are numbered from 0 in the order in which they were first given out. Nothing
//! here knows what a token looks like or how the server remembers it.

/// Without a refresh for so long a session runs out, in seconds.
pub(super) const IDLE_SECS: i64 = 60 * 86_400;
/// However often it is refreshed, in seconds.
const ABSOLUTE_SECS: i64 = 365 * 86_400;
/// For how long the previous token is honoured in any case, in seconds.
const GRACE_SECS: i64 = 30;

/// What has to come back for a refresh token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The token of this number.
    Gives(usize),
    /// Nothing, and the session is dead afterwards if it was not before.
    Refuses,
    /// One of the two: that the successor arrived was seen by another replica and is written soon.
    Either(usize),
}

/// Where a session stands.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The number of the newest token.
    pub(super) newest: usize,
    /// Ended before its time.
    pub(super) dead: bool,
    expires_at: i64,
    idle_until: i64,
    rotated_at: i64,
    /// The newest token whose access token was seen in use.
    proven: usize,
    /// Which replicas saw that themselves.
    saw: Vec<bool>,
    /// Whether all others know it too.
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

    /// What has to come back for the token of this number.
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

    /// A refresh token bought the next one.
    pub(super) fn given(&mut self, number: usize, now: i64) {
        if number > self.newest {
            self.newest = number;
            self.rotated_at = now;
        }
        self.idle_until = self.expires_at.min(now + IDLE_SECS);
    }

    /// Somebody ended it, or showed a token that only a thief or a victim can have.
    pub(super) fn ended(&mut self, now: i64) {
        self.dead |= self.lives(now);
    }

    /// The access token that came with this refresh token was used.
    pub(super) fn used(&mut self, number: usize, replica: usize) {
        if number > self.proven {
            self.proven = number;
            self.saw.fill(false);
            self.written = false;
        }
        self.saw[replica] |= number == self.proven;
    }

    /// The replica wrote down what it saw.
    pub(super) fn wrote(&mut self, replica: usize) {
        self.written |= self.saw[replica];
    }

    /// The replica forgot what it saw.
    pub(super) fn forgot(&mut self, replica: usize) {
        self.saw[replica] = false;
    }
}

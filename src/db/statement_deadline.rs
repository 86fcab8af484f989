//! The time at which SQLite interrupts the running statement of a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The number of instructions of SQLite's virtual machine between two checks of the time limit. SQLite
/// executes this number of instructions in some tens of microseconds.
pub(super) const CHECK_EVERY: i32 = 2000;

/// The deadline of the running statement. The progress handler of the connection checks it.
#[derive(Debug)]
pub(super) struct StatementDeadline {
    opened: Instant,
    /// Milliseconds after `opened`.
    millis: AtomicU64,
}

impl StatementDeadline {
    /// Creates a deadline that never passes.
    pub(super) fn never() -> Self {
        Self { opened: Instant::now(), millis: AtomicU64::new(u64::MAX) }
    }

    /// Starts the time limit of the next statement.
    pub(super) fn set(&self, limit: Duration) {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.millis.store(self.elapsed().saturating_add(limit), Ordering::Relaxed);
    }

    pub(super) fn has_passed(&self) -> bool {
        self.elapsed() > self.millis.load(Ordering::Relaxed)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

//! Logs the differences between servers whenever they have changed since the last log line, but at most once
//! a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::Mismatch;
use crate::metrics::ReplicaMismatch;

/// The minimum interval between two log lines. If the differences change within the interval, the differences
/// at the end of the interval are logged.
const INTERVAL: Duration = Duration::from_mins(1);

/// The differences that were logged last, and the time at which they were logged.
#[derive(Debug, Default)]
pub(super) struct Report {
    logged: BTreeSet<(ReplicaMismatch, Uuid)>,
    logged_at: Option<Duration>,
}

impl Report {
    /// Logs the differences if they have changed since the last log line. `now` is the monotonic time.
    pub(super) fn write(&mut self, mismatches: &[Mismatch], now: Duration) {
        if !self.is_due(mismatches, now) {
            return;
        }
        if mismatches.is_empty() {
            tracing::info!("the servers on this database no longer differ");
            return;
        }
        let details: Vec<&str> = mismatches.iter().map(|mismatch| mismatch.detail.as_str()).collect();
        tracing::warn!(differences = details.join("; "), "the servers on this database differ");
    }

    fn is_due(&mut self, mismatches: &[Mismatch], now: Duration) -> bool {
        // Ignore the details, because they contain the current difference of the clocks, which always
        // changes.
        let current: BTreeSet<_> = mismatches.iter().map(|found| (found.kind, found.other)).collect();
        let is_early = self.logged_at.is_some_and(|at| now.saturating_sub(at) < INTERVAL);
        if current == self.logged || is_early {
            return false;
        }
        self.logged = current;
        self.logged_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(kind: ReplicaMismatch, detail: &str) -> Mismatch {
        Mismatch { kind, other: Uuid::nil(), detail: detail.to_owned() }
    }

    #[test]
    fn only_changed_differences_are_logged_and_at_most_once_a_minute() {
        let mut report = Report::default();
        let clock = |detail| mismatch(ReplicaMismatch::Clock, detail);
        let version = mismatch(ReplicaMismatch::Version, "");
        assert!(!report.is_due(&[], Duration::ZERO), "nothing differs");
        assert!(report.is_due(&[clock("2.1 s")], Duration::ZERO));
        assert!(!report.is_due(&[clock("2.2 s")], INTERVAL), "the difference is the same");
        let both = [clock("2.2 s"), version];
        assert!(report.is_due(&both, INTERVAL));
        assert!(!report.is_due(&[], INTERVAL + Duration::from_secs(59)));
        assert!(report.is_due(&[], INTERVAL + INTERVAL));
        assert!(!report.is_due(&[], INTERVAL * 3));
    }
}

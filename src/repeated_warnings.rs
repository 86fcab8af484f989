//! Limits repeated warnings. Without this limit, every request would write the same line while the database
//! is unavailable.
//!
//! In each period, the first warnings of each kind are written. The first warning of the next period contains
//! the number of warnings that were left out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of warnings of one kind that are written in a period.
const PER_PERIOD: u64 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// Counts warnings by their kind, which comes from a fixed set.
#[derive(Debug)]
pub struct RepeatedWarnings<K>(Mutex<HashMap<K, Period>>);

#[derive(Debug)]
struct Period {
    began: Instant,
    count: u64,
}

impl<K> Default for RepeatedWarnings<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> RepeatedWarnings<K> {
    /// Returns `None` if the warning is left out. Otherwise returns the number of warnings that were left out
    /// before this warning.
    pub fn admit(&self, kind: K, now: Instant) -> Option<u64> {
        let mut periods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let period = periods.entry(kind).or_insert(Period { began: now, count: 0 });
        if now.duration_since(period.began) >= PERIOD {
            let left_out = period.count.saturating_sub(PER_PERIOD);
            *period = Period { began: now, count: 1 };
            return Some(left_out);
        }
        period.count += 1;
        (period.count <= PER_PERIOD).then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_beyond_the_limit_are_counted_and_reported_in_the_next_period() {
        let (warnings, start) = (RepeatedWarnings::default(), Instant::now());
        for _ in 0..PER_PERIOD {
            assert_eq!(warnings.admit("a", start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(warnings.admit("a", start), None);
        }
        assert_eq!(warnings.admit("b", start), Some(0), "each kind has a limit of its own");
        assert_eq!(warnings.admit("a", start + PERIOD), Some(7));
        assert_eq!(warnings.admit("a", start + PERIOD), Some(0));
        assert_eq!(warnings.admit("a", start + PERIOD + PERIOD), Some(0));
    }
}

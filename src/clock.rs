//! The source of time and of identifiers. It is passed in, so tests of expiry and order need no sleep.
//!
//! No other module reads the system clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

/// Returns the time and generates identifiers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    order: Arc<Mutex<ContextV7>>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the system clock.
    pub fn system() -> Self {
        Self { source: Source::System, order: Arc::default() }
    }

    /// Returns a clock that stays at `start` until [`Clock::advance`] moves it.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self {
            source: Source::Fixed(Arc::new(AtomicI64::new(start.timestamp_millis()))),
            order: Arc::default(),
        }
    }

    /// Moves a fixed clock. Has no effect on the system clock.
    pub fn advance(&self, by: TimeDelta) {
        if let Source::Fixed(millis) = &self.source {
            millis.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Returns the current time in whole milliseconds, the precision of the database and of responses.
    pub fn now(&self) -> DateTime<Utc> {
        from_millis(self.now_millis())
    }

    fn now_millis(&self) -> i64 {
        match &self.source {
            #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
            Source::System => Utc::now().timestamp_millis(),
            Source::Fixed(millis) => millis.load(Ordering::SeqCst),
        }
    }

    /// Returns a UUIDv7 (RFC 9562 §5.7) for the current time. The ids that one clock generates within a
    /// millisecond are ordered too.
    pub fn new_id(&self) -> Uuid {
        let millis = self.now_millis().unsigned_abs();
        let nanos = u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*order, millis / 1000, nanos))
    }
}

/// Returns the system time since 1970 for the log, which uses it even if the server's clock is fixed.
pub(crate) fn unix_time() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Converts milliseconds since 1970. Returns the earliest instant if the value is out of range.
pub fn from_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_of_one_millisecond_are_in_order() {
        let clock = Clock::fixed(from_millis(1_700_000_000_123));
        let ids: Vec<Uuid> = (0..1000).map(|_| clock.new_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
    }

    #[test]
    fn a_fixed_clock_moves_only_when_advanced() {
        let clock = Clock::fixed(from_millis(5));
        let twin = clock.clone();
        assert_eq!(clock.now(), from_millis(5));
        twin.advance(TimeDelta::milliseconds(7));
        assert_eq!(clock.now(), from_millis(12));
    }
}

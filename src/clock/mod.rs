//! The source of time and of identifiers. Services receive the clock as a parameter, so that tests of expiry
//! and order need no sleep.
//!
//! The clock provides several times. [`Clock::now`] is the system clock, which an operator or NTP can set at
//! any moment. [`Clock::monotonic`] measures how much time has passed. [`Clock::shared_now`] is the time that
//! replicas compare with each other. A job that would do harm after a jump of the system clock, such as the
//! deletion of expired data, runs only if [`Clock::is_steady`] returns true. A request that depends on
//! whether stored data has expired uses [`Clock::trusted_now`].
//!
//! No other module reads the system clock.

mod watch;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};
use uuid::{ContextV7, Timestamp, Uuid};

use watch::{Reading, Watch};

/// The monotonic clock that includes the time for which the machine was suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MONOTONIC: ClockId = ClockId::Boottime;
/// On macOS, this clock includes the time for which the machine was suspended. On other systems, it is the
/// best available clock.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const MONOTONIC: ClockId = ClockId::Monotonic;

/// Returns the time and generates identifiers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
    order: Arc<Mutex<ContextV7>>,
    watch: Arc<Mutex<Watch>>,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Fixed(Arc<FixedTime>),
}

/// The times of a fixed clock, in milliseconds.
#[derive(Debug)]
struct FixedTime {
    system: AtomicI64,
    monotonic: AtomicI64,
    /// The difference between the clock of the simulated database and the monotonic clock; `i64::MIN` if no
    /// database is simulated.
    database_offset: AtomicI64,
}

impl Clock {
    /// Returns the system clock.
    pub fn system() -> Self {
        Self::new(Source::System)
    }

    /// Returns a clock that stays at `start` until [`Clock::advance`] moves it.
    pub fn fixed(start: DateTime<Utc>) -> Self {
        Self::new(Source::Fixed(Arc::new(FixedTime {
            system: AtomicI64::new(start.timestamp_millis()),
            monotonic: AtomicI64::new(0),
            database_offset: AtomicI64::new(i64::MIN),
        })))
    }

    fn new(source: Source) -> Self {
        let now = source.reading();
        Self { source, order: Arc::default(), watch: Arc::new(Mutex::new(Watch::new(now))) }
    }

    /// Returns a clock with the same time and no record of earlier jumps, like the clock of a new process. Both
    /// clocks share one sequence of ids, so the ids that they generate within a millisecond are in order.
    #[must_use]
    pub fn restarted(&self) -> Self {
        Self { order: Arc::clone(&self.order), ..Self::new(self.source.clone()) }
    }

    /// Advances both times of a fixed clock: the system time and the monotonic time. Has no effect on a clock
    /// that is not fixed.
    pub fn advance(&self, by: TimeDelta) {
        self.jump(by);
        if let Source::Fixed(time) = &self.source {
            // Like the monotonic clock of a machine, this clock never goes back.
            time.monotonic.fetch_add(by.num_milliseconds().max(0), Ordering::SeqCst);
        }
    }

    /// Changes the system time of a fixed clock, but not its monotonic time. Has no effect on a clock that is
    /// not fixed.
    pub fn jump(&self, by: TimeDelta) {
        if let Source::Fixed(time) = &self.source {
            time.system.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
        }
    }

    /// Simulates a database for a fixed clock. The clock of the database differs from this clock by `by`. A
    /// jump of this clock does not change the clock of the database.
    pub fn simulate_database_clock(&self, by: TimeDelta) {
        if let Source::Fixed(time) = &self.source {
            let now = self.source.reading();
            let offset = now.system - now.monotonic + by.num_milliseconds();
            time.database_offset.store(offset, Ordering::SeqCst);
        }
    }

    /// Returns the current time in whole milliseconds, the precision of the database and of responses.
    pub fn now(&self) -> DateTime<Utc> {
        from_millis(self.source.system_millis())
    }

    /// Returns the time since an unspecified moment. The result never decreases, and it includes the time for
    /// which the machine was suspended or this process was stopped.
    pub fn monotonic(&self) -> Duration {
        self.source.monotonic()
    }

    /// Returns the time that replicas compare with each other, for example the time of a lease. This is the
    /// time of the database's clock, or the system time if the database has no clock of its own.
    pub fn shared_now(&self) -> DateTime<Utc> {
        from_millis(self.watch().shared(self.source.reading()))
    }

    /// Returns the difference between the system clock and the [shared time](Self::shared_now). The result is
    /// positive if the system clock is ahead.
    pub fn offset(&self) -> TimeDelta {
        let now = self.source.reading();
        TimeDelta::milliseconds(now.system.saturating_sub(self.watch().shared(now)))
    }

    /// Returns the time that decides whether stored data has expired. After a jump of the system clock, this
    /// time continues as if the clock had not jumped, until the clock is [steady](Self::is_steady) again.
    pub fn trusted_now(&self) -> DateTime<Utc> {
        from_millis(self.watch().trusted(self.source.reading()))
    }

    /// Returns whether jobs can rely on the current time to delete expired data and to rotate keys. Returns
    /// false after a jump of the system clock, after a difference between the system clock and the database's
    /// clock, and after a long time without a running server, until the clocks have agreed for an hour.
    pub fn is_steady(&self) -> bool {
        self.watch().is_steady(self.source.reading())
    }

    /// Returns whether the system clock differs by at most 65 seconds from the database's clock, as of the
    /// last comparison. Other servers would refuse the tokens of a server whose clock is wrong.
    pub fn agrees_with_database(&self) -> bool {
        self.watch().agrees_with_database(self.source.reading())
    }

    /// Compares this clock with the time that the database returned. `asked_at` is the [monotonic
    /// time](Self::monotonic) directly before the query.
    pub fn compare_with_database(&self, asked_at: Duration, time: Option<DateTime<Utc>>) {
        let now = self.source.reading();
        let asked_at = i64::try_from(asked_at.as_millis()).unwrap_or(now.monotonic);
        let uncertainty = (now.monotonic - asked_at).max(0) / 2;
        let time = match &self.source {
            Source::System => time.map(|time| time.timestamp_millis().saturating_add(uncertainty)),
            Source::Fixed(fixed) => {
                let offset = fixed.database_offset.load(Ordering::SeqCst);
                (offset != i64::MIN).then(|| now.monotonic + offset)
            }
        };
        if let Some(time) = time {
            self.watch().compare_with_database(now, time, uncertainty);
        }
    }

    /// Compares the [shared time](Self::shared_now) with `last`, the latest expiry of a lease of any replica.
    /// If the difference is large, the clock has possibly jumped while no server was running.
    pub fn compare_with_last_work(&self, last: DateTime<Utc>) {
        self.watch().compare_with_last_work(self.source.reading(), last.timestamp_millis());
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a UUIDv7 (RFC 9562 §5.7) for the current time. The ids that one clock generates within a
    /// millisecond are in order too.
    pub fn new_id(&self) -> Uuid {
        let millis = self.source.system_millis().unsigned_abs();
        let nanos = u32::try_from(millis % 1000).unwrap_or_default() * 1_000_000;
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*order, millis / 1000, nanos))
    }
}

impl Source {
    fn system_millis(&self) -> i64 {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
            Self::System => Utc::now().timestamp_millis(),
            Self::Fixed(time) => time.system.load(Ordering::SeqCst),
        }
    }

    fn monotonic(&self) -> Duration {
        match self {
            Self::System => {
                let time = clock_gettime(MONOTONIC);
                let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
                Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
            }
            Self::Fixed(time) => {
                let millis = time.monotonic.load(Ordering::SeqCst);
                Duration::from_millis(u64::try_from(millis).unwrap_or_default())
            }
        }
    }

    fn reading(&self) -> Reading {
        let monotonic = i64::try_from(self.monotonic().as_millis()).unwrap_or(i64::MAX);
        Reading { system: self.system_millis(), monotonic }
    }
}

/// Returns the system time since 1970. The log uses this time even if the server's clock is fixed.
pub(crate) fn unix_time() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Converts milliseconds since 1970. Returns the earliest instant if the value is out of range.
pub fn from_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// Returns a lower bound of the ids (UUIDv7) of an instant. The ids of rows that were created before this
/// instant are lower than this bound.
pub fn first_id_at(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Uuid::from_u128(u128::from(millis) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_generated_in_one_millisecond_are_in_order() {
        let clock = Clock::fixed(from_millis(1_700_000_000_123));
        let ids: Vec<Uuid> = (0..1000).map(|_| clock.new_id()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0].get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
    }

    #[test]
    fn the_first_id_at_an_instant_separates_earlier_identifiers_from_later_ones() {
        let clock = Clock::fixed(from_millis(1_700_000_000_123));
        let earlier = clock.new_id();
        clock.advance(TimeDelta::milliseconds(1));
        let first = first_id_at(clock.now());
        assert!(earlier < first && first < clock.new_id());
        assert_eq!(first_id_at(from_millis(-1)), Uuid::nil());
    }

    #[test]
    fn a_fixed_clock_moves_only_by_advance_and_jump() {
        let clock = Clock::fixed(from_millis(5));
        let twin = clock.clone();
        assert_eq!(clock.now(), from_millis(5));
        twin.advance(TimeDelta::milliseconds(7));
        assert_eq!(clock.now(), from_millis(12));
        assert_eq!(clock.monotonic(), Duration::from_millis(7));
        twin.jump(TimeDelta::milliseconds(-3));
        assert_eq!((clock.now(), clock.monotonic()), (from_millis(9), Duration::from_millis(7)));
    }

    #[test]
    fn the_monotonic_time_of_the_system_never_goes_back() {
        let clock = Clock::system();
        let times: Vec<Duration> = (0..1000).map(|_| clock.monotonic()).collect();
        assert!(times.is_sorted() && times[0] > Duration::ZERO);
    }
}

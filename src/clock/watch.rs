//! Detects a system clock that jumped, and a database whose clock differs from the system clock.
//!
//! The reference is the monotonic clock: while the system clock runs evenly, the difference between the two
//! clocks is constant. After a jump, the new time is possibly wrong, so the server must not delete expired
//! data or rotate keys because of the new time. In this file, *the work* means these jobs. A jump pauses the
//! work. The work resumes when the clocks have run evenly and agreed for [`SETTLE_MILLIS`]. If the clock
//! jumped while no server was running, the time between the last work and the start of this process is
//! unexpectedly long or negative.
//!
//! All times and differences are in milliseconds.

/// The maximum difference between two clocks that agree, and the maximum jump that does not pause the work.
pub(super) const TOLERANCE_MILLIS: i64 = 60_000;
/// An additional difference that the readiness check tolerates, because the comparison with the database's
/// clock is not exact.
const COMPARISON_MILLIS: i64 = 5_000;
/// The maximum time between the last work and the start of this process that does not pause the work.
pub(super) const MAX_DOWNTIME_MILLIS: i64 = 5 * 60_000;
/// How long the clocks must agree before the work resumes.
pub(super) const SETTLE_MILLIS: i64 = 60 * 60_000;
/// The minimum interval between two warnings.
const WARNING_INTERVAL_MILLIS: i64 = 60 * 60_000;

/// The system clock and the monotonic clock at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// The system time since 1970.
    pub(super) system: i64,
    /// The time since the start of the machine, including suspension.
    pub(super) monotonic: i64,
}

impl Reading {
    fn offset(self) -> i64 {
        self.system.saturating_sub(self.monotonic)
    }
}

/// The state of the clocks, as observed since the start of the server.
#[derive(Debug)]
pub(super) struct Watch {
    /// The trusted difference between the system clock and the monotonic clock: the difference before the
    /// last jump.
    trusted_offset: i64,
    /// The difference between the system clock and the monotonic clock, at the start of the server or after
    /// the last jump.
    current_offset: i64,
    /// The difference between the database's clock and the monotonic clock.
    database_offset: Option<i64>,
    /// The monotonic time until which the work is paused.
    paused_until: Option<i64>,
    /// The monotonic time of the last warning.
    warned_at: Option<i64>,
}

impl Watch {
    /// Starts with the current clocks as the reference.
    pub(super) fn new(now: Reading) -> Self {
        Self {
            trusted_offset: now.offset(),
            current_offset: now.offset(),
            database_offset: None,
            paused_until: None,
            warned_at: None,
        }
    }

    /// Compares the difference between the system clock and the monotonic clock with the difference at the
    /// start of the server or after the last jump. Returns false while the work is paused.
    pub(super) fn is_steady(&mut self, now: Reading) -> bool {
        let jump = now.offset().saturating_sub(self.current_offset);
        if jump.saturating_abs() > TOLERANCE_MILLIS {
            self.current_offset = now.offset();
            self.pause(now, "the system clock jumped", jump);
        } else if self.paused_until.is_some_and(|until| now.monotonic >= until) {
            self.paused_until = None;
            self.trusted_offset = self.current_offset;
            tracing::info!(
                "the clocks have agreed for an hour: key rotation and the deletion of expired data resume"
            );
        }
        self.paused_until.is_none()
    }

    /// Compares the database's clock with the system clock. `database` is the time of the database's clock at
    /// most `uncertainty` before or after `now`.
    pub(super) fn compare_with_database(&mut self, now: Reading, database: i64, uncertainty: i64) {
        self.is_steady(now);
        self.database_offset = Some(database.saturating_sub(now.monotonic));
        let difference = database.saturating_sub(now.system);
        if difference.saturating_abs() > TOLERANCE_MILLIS.saturating_add(uncertainty) {
            self.pause(now, "the clocks of the database and of this server differ", difference);
        }
    }

    /// Compares the time of the last work, by any replica, with the time at the start.
    pub(super) fn compare_with_last_work(&mut self, now: Reading, last: i64) {
        let gap = self.shared(now).saturating_sub(last);
        if gap.saturating_abs() > MAX_DOWNTIME_MILLIS {
            self.trusted_offset = last.saturating_sub(now.monotonic);
            self.pause(now, "no server ran for a long time, or the system clock was changed", gap);
        }
    }

    /// Returns the time of the database's clock, or the system time if the database has no clock of its own.
    pub(super) fn shared(&self, now: Reading) -> i64 {
        let database = self.database_offset.map(|offset| now.monotonic.saturating_add(offset));
        database.unwrap_or(now.system)
    }

    /// Returns whether the system clock agrees with the database's clock, as of the last comparison.
    pub(super) fn agrees_with_database(&self, now: Reading) -> bool {
        self.shared(now).saturating_sub(now.system).saturating_abs() <= TOLERANCE_MILLIS + COMPARISON_MILLIS
    }

    /// Returns the system time. While the work is paused, returns the time as it would be without the jump.
    pub(super) fn trusted(&mut self, now: Reading) -> i64 {
        let is_steady = self.is_steady(now);
        if is_steady { now.system } else { now.monotonic.saturating_add(self.trusted_offset) }
    }

    fn pause(&mut self, now: Reading, reason: &'static str, difference: i64) {
        self.paused_until = Some(now.monotonic.saturating_add(SETTLE_MILLIS));
        let is_due = |at| now.monotonic.saturating_sub(at) >= WARNING_INTERVAL_MILLIS;
        if self.warned_at.is_none_or(is_due) {
            self.warned_at = Some(now.monotonic);
            tracing::warn!(
                difference_secs = difference / 1000,
                "{reason}: key rotation and the deletion of expired data are paused until all clocks have \
                 agreed for an hour",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const YEAR: i64 = 365 * 24 * 60 * MINUTE;
    const START: Reading = Reading { system: 1_700_000_000_000, monotonic: 5_000 };

    /// Returns the clocks at `elapsed` after the start, with a system clock that is fast by `fast`.
    fn at(elapsed: i64, fast: i64) -> Reading {
        Reading { system: START.system + elapsed + fast, monotonic: START.monotonic + elapsed }
    }

    #[test]
    fn a_clock_jump_pauses_the_jobs_until_an_hour_without_jumps_has_passed() {
        // A-4, S-106
        for jump in [MINUTE + 1, YEAR, -MINUTE - 1, -YEAR] {
            let mut watch = Watch::new(START);
            assert!(watch.is_steady(at(90 * YEAR, 0)), "time passes");
            let from = 90 * YEAR;
            assert!(!watch.is_steady(at(from + 1, jump)));
            assert!(!watch.is_steady(at(from + 75_000, 0)), "the jump back is a jump");
            assert!(!watch.is_steady(at(from + 75_000 + SETTLE_MILLIS - 1, 0)));
            assert!(watch.is_steady(at(from + 75_000 + SETTLE_MILLIS, 0)));
        }
    }

    #[test]
    fn small_clock_corrections_pause_no_jobs_and_large_ones_pause_them_for_an_hour() {
        let mut watch = Watch::new(START);
        assert!(watch.is_steady(at(1, MINUTE)) && watch.is_steady(at(2, -MINUTE)));
        assert!(!watch.is_steady(at(3, YEAR)));
        assert!(watch.is_steady(at(3 + SETTLE_MILLIS, YEAR)));
        assert_eq!(watch.trusted(at(3 + SETTLE_MILLIS, YEAR)), at(3 + SETTLE_MILLIS, YEAR).system);
    }

    #[test]
    fn the_trusted_time_ignores_a_jump_of_the_system_clock() {
        //
        let mut watch = Watch::new(START);
        assert_eq!(watch.trusted(at(10, YEAR)), at(10, 0).system);
        assert_eq!(watch.trusted(at(20, 0)), at(20, 0).system);
        assert_eq!(watch.shared(at(30, YEAR)), at(30, YEAR).system);
    }

    #[test]
    fn the_shared_time_is_the_database_time_and_a_large_difference_pauses_the_jobs() {
        // A-4, F-3
        let mut watch = Watch::new(START);
        watch.compare_with_database(at(0, 0), START.system + MINUTE, 0);
        assert!(watch.is_steady(at(1, 0)));
        assert_eq!(watch.shared(at(2, YEAR)), START.system + MINUTE + 2);
        for difference in [MINUTE + 1, -MINUTE - 1] {
            let mut watch = Watch::new(START);
            watch.compare_with_database(at(0, 0), START.system + difference, 1);
            assert!(watch.is_steady(at(0, 0)), "the difference may come from the time of the query");
            watch.compare_with_database(at(0, 0), START.system + difference, 0);
            assert!(!watch.is_steady(at(0, 0)));
            watch.compare_with_database(at(MINUTE, 0), START.system + MINUTE, 0);
            assert!(!watch.is_steady(at(SETTLE_MILLIS - 1, 0)));
            assert!(watch.is_steady(at(SETTLE_MILLIS, 0)));
        }
    }

    #[test]
    fn the_jobs_are_paused_if_the_server_starts_long_after_their_last_run() {
        //
        for last in [-MAX_DOWNTIME_MILLIS, 0, MAX_DOWNTIME_MILLIS] {
            let mut watch = Watch::new(START);
            watch.compare_with_last_work(START, START.system + last);
            assert!(watch.is_steady(at(1, 0)));
        }
        for last in [-YEAR, -MAX_DOWNTIME_MILLIS - 1, YEAR] {
            let mut watch = Watch::new(START);
            watch.compare_with_last_work(START, START.system + last);
            assert!(!watch.is_steady(at(1, 0)));
            assert_eq!(watch.trusted(at(1, 0)), at(1, last).system);
            assert!(watch.is_steady(at(SETTLE_MILLIS, 0)));
            assert_eq!(watch.trusted(at(SETTLE_MILLIS, 0)), at(SETTLE_MILLIS, 0).system);
        }
    }
}

//! Limits wrong codes. A user can enter ten wrong codes without waiting. After the tenth, the user must wait,
//! and each further wrong code doubles the delay, up to 15 minutes.

use chrono::{DateTime, Utc};

/// The number of wrong codes that a user can enter without waiting.
const FREE_FAILURES: i64 = 10;
/// The maximum delay, in milliseconds.
pub(super) const DELAY_MAX_MILLIS: i64 = 15 * 60_000;

/// The result of counting an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The attempt was counted. The caller now compares the code.
    Counted,
    /// There were too many wrong codes.
    Blocked {
        /// When the next attempt is possible, in seconds from now.
        retry_after_secs: u64,
    },
    /// The user has no authenticator app.
    NotEnabled,
}

impl Attempt {
    pub(super) fn blocked(until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let millis = u64::try_from((until - now).num_milliseconds()).unwrap_or_default();
        Self::Blocked { retry_after_secs: millis.div_ceil(1000).max(1) }
    }
}

/// Returns pairs, the longest delay first. A pair contains a number of earlier wrong codes, and the delay
/// after the next wrong code, in milliseconds.
pub(super) fn delays() -> impl Iterator<Item = (i64, i64)> {
    // 2^10 seconds is longer than the maximum delay.
    (0..=10).rev().map(|exponent| {
        let delay = (1000_i64 << exponent).min(DELAY_MAX_MILLIS);
        (FREE_FAILURES - 1 + exponent, delay)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_after_wrong_codes_doubles_from_one_second_to_fifteen_minutes() {
        let steps: Vec<(i64, i64)> = delays().collect();
        assert_eq!(steps.last(), Some(&(9, 1000)));
        assert_eq!(steps[steps.len() - 2], (10, 2000));
        assert_eq!(steps.first(), Some(&(19, 900_000)));
        assert_eq!(steps[1], (18, 512_000));
    }
}

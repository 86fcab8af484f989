//! The problem for a request that the throttle refuses.

use poem::http::HeaderName;

use super::problem::{Problem, ProblemCode};
use crate::throttle::{Blocked, ThrottleError};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl From<Blocked> for Problem {
    /// Returns 429. The time to wait is in `Retry-After` and `RateLimit`, and the limit is in
    /// `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    fn from(blocked: Blocked) -> Self {
        let Blocked { limit, retry_after_secs } = blocked;
        let detail =
            format!("There were too many attempts. Please try again in {}.", duration(retry_after_secs));
        let policy = format!(r#""{}";q={};w={}"#, limit.name, limit.free, limit.window_secs());
        let state = format!(r#""{}";r=0;t={retry_after_secs}"#, limit.name);
        Self::new(ProblemCode::TooManyAttempts, detail)
            .retry_after(retry_after_secs)
            .with_header(RATE_LIMIT_POLICY, policy)
            .with_header(RATE_LIMIT, state)
    }
}

impl From<ThrottleError> for Problem {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Blocked(blocked) => blocked.into(),
            ThrottleError::Store(error) => error.into(),
        }
    }
}

/// Returns a time to wait in words.
fn duration(secs: u64) -> String {
    match secs {
        1 => "1 second".to_owned(),
        2..=90 => format!("{secs} seconds"),
        _ => format!("{} minutes", secs.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn the_time_to_wait_is_rounded_up_to_seconds_or_minutes_in_words() {
        let words = [1, 30, 90, 91, 900].map(duration);
        assert_eq!(words, ["1 second", "30 seconds", "90 seconds", "2 minutes", "15 minutes"]);
    }
}

//! A deadline that several calls to the database share.

use std::time::{Duration, Instant};

use super::DATABASE_TIMEOUT;

tokio::task_local! {
    static DEADLINE: Instant;
}

/// Runs `work`. All its reads and writes share one deadline, so that a request with several calls waits for
/// the database no longer than a request with one call.
pub async fn within_one_deadline<F: Future>(work: F) -> F::Output {
    DEADLINE.scope(Instant::now() + DATABASE_TIMEOUT, work).await
}

/// Returns how long a call may wait: `limit`, or less if the deadline of the request is earlier.
pub(super) fn remaining(limit: Duration) -> Duration {
    let left = |deadline: &Instant| deadline.saturating_duration_since(Instant::now());
    DEADLINE.try_with(left).map_or(limit, |left| left.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_database_calls_of_one_request_share_one_deadline() {
        // F-9
        let limit = DATABASE_TIMEOUT * 2;
        assert_eq!(remaining(limit), limit);
        within_one_deadline(async {
            let first = remaining(limit);
            assert!(first <= DATABASE_TIMEOUT);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(remaining(limit) + Duration::from_millis(20) <= first);
            assert_eq!(remaining(Duration::from_secs(1)), Duration::from_secs(1));
        })
        .await;
    }
}

//! Makes response times independent of whether an account exists.
//!
//! The response is sent after the next multiple of `TICK` since the request began, with a random delay of at
//! most one tick. A request for a mail takes less than one tick, whether or not the account exists. A failed
//! login takes longer because of bcrypt, but whether the account exists changes the duration by less than
//! 0.1 ms, the time for decoding the row of the account. The random delay hides the small differences that
//! remain, for example because a processor core that was busy until recently wakes up faster from the delay.
//! An average over many thousand responses would still show a difference; the throttle limits the number of
//! responses.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::secrets::random_bytes;

/// The time between two ticks. A request for a mail takes about 1 ms on SQLite and 4 ms on a database server.
const TICK: Duration = Duration::from_millis(5);

/// Awaits `work`, and returns its result at a random time within the tick after the next multiple of `TICK`
/// since `work` began.
pub fn at_next_tick<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    // Boxed, because the future contains several transactions and is large.
    let work = Box::pin(work);
    async move {
        let started = Instant::now();
        let result = work.await;
        next_tick_since(started).await;
        result
    }
}

/// Waits until a random time within the tick after the next multiple of `TICK` since `started`.
pub async fn next_tick_since(started: Instant) {
    let ticks = started.elapsed().as_nanos() / TICK.as_nanos() + 1;
    let delay = TICK.mul_f64(f64::from(u32::from_be_bytes(random_bytes())) / f64::from(u32::MAX));
    sleep_until(started + TICK * u32::try_from(ticks).unwrap_or(u32::MAX) + delay).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test]
    async fn a_response_is_not_returned_before_the_next_tick() {
        // S-11
        for (work, expected) in [(0, 1), (3, 1), (7, 2)] {
            let started = Instant::now();
            at_next_tick(sleep(Duration::from_millis(work))).await;
            let took = started.elapsed();
            assert!(took >= TICK * expected, "{work} ms took {took:?}");
        }
    }
}

//! What runs beside the requests, for as long as the server does.
//!
//! Twice a second every replica reads what the others changed. The chores of a whole installation are
//! done by whichever replica holds the lease. Nothing here is needed for an answer to be right: a
//! replica whose housekeeping fails goes on serving, and says so in the log.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;

/// How often the changes of other replicas are read.
const POLL: Duration = Duration::from_millis(400);

/// Runs until it is dropped.
pub async fn run(app: App) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.tokens.poll().await;
    }
}

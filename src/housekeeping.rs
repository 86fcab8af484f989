//! What runs beside the requests, for as long as the server does.
//!
//! Twice a second every replica reads what the others changed. The chores of a whole installation are
//! done by whichever replica holds the lease. Nothing here is needed for an answer to be right: a
//! replica whose housekeeping fails goes on serving, and says so in the log.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::causes::chain;

/// How often the changes of other replicas are read.
const POLL: Duration = Duration::from_millis(400);

/// How often it is written which tokens were seen.
const PROVE: Duration = Duration::from_secs(2);
/// How often what is dead is swept out.
const SWEEP: Duration = Duration::from_mins(1);

/// Runs until it is dropped.
pub async fn run(app: App) {
    tokio::join!(every(POLL, &app, poll), every(PROVE, &app, prove), every(SWEEP, &app, sweep));
}

/// What is still to be written when the server stops.
pub async fn finish(app: &App) {
    prove(app.clone()).await;
}

async fn every<F: Future<Output = ()>>(period: Duration, app: &App, chore: fn(App) -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        chore(app.clone()).await;
    }
}

async fn poll(app: App) {
    app.tokens.poll().await;
}

async fn prove(app: App) {
    if let Err(error) = app.sessions.write_proofs().await {
        tracing::debug!(causes = chain(&error), "it was not written which tokens were seen");
    }
}

/// Deletes what has been dead for long.
pub async fn sweep(app: App) {
    if let Err(error) = app.sessions.sweep().await {
        tracing::warn!(causes = chain(&error), "dead sessions were not swept out");
    }
    if let Err(error) = app.tokens.sweep().await {
        tracing::warn!(causes = chain(&error), "old revocations were not swept out");
    }
}

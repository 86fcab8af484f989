//! What runs beside the requests, for as long as the server does.
//!
//! Twice a second every replica reads what the others changed. The chores of a whole installation are
//! done by whichever replica holds the lease. Nothing here is needed for an answer to be right: a
//! replica whose housekeeping fails goes on serving, and says so in the log.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::causes::chain;

/// How often the changes of other replicas are read.
const POLL: Duration = Duration::from_millis(400);
/// How often it is written which tokens were seen.
const PROVE: Duration = Duration::from_secs(2);
/// How often what is dead is swept out, and the keys are looked after.
const SWEEP: Duration = Duration::from_mins(1);
/// How often it is looked up what the dearest password hash costs, which another replica may have made.
const LEARN: Duration = Duration::from_hours(1);
/// How long a replica that says no more keeps the others from a chore.
const LEASE: TimeDelta = TimeDelta::minutes(3);
/// The lease of whoever keeps the keys.
const KEYS: &str = "keys";
/// The lease of whoever sweeps.
const BROOM: &str = "sweep";
/// The lease of whoever sweeps out what apps no longer ask for.
const OFFLINE: &str = "offline";

/// Runs until it is dropped.
pub async fn run(app: App) {
    tokio::join!(
        every(POLL, &app, poll),
        every(PROVE, &app, prove),
        every(SWEEP, &app, sweep),
        every(SWEEP, &app, keep_keys),
        every(SWEEP, &app, sweep_offline),
        async {
            learn_costs(app.clone()).await;
            every(LEARN, &app, learn_costs).await;
        }
    );
}

/// What is still to be written when the server stops.
pub async fn finish(app: &App) {
    prove(app.clone()).await;
}

async fn every<F: Future<Output = ()>>(period: Duration, app: &App, chore: fn(App) -> F) {
    // Everything was read just now, at the start.
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        chore(app.clone()).await;
    }
}

async fn poll(app: App) {
    app.tokens.poll().await;
}

async fn learn_costs(app: App) {
    if let Err(error) = app.accounts.learn_costs().await {
        tracing::warn!(causes = chain(&error), "what the stored password hashes cost is not known");
    }
}

async fn prove(app: App) {
    if let Err(error) = app.sessions.write_proofs().await {
        tracing::debug!(causes = chain(&error), "it was not written which tokens were seen");
    }
}

/// Deletes what has been dead for long; one replica does.
pub async fn sweep(app: App) {
    app.tokens.forget();
    if !holds(&app, BROOM).await {
        return;
    }
    if let Err(error) = app.sessions.sweep().await {
        tracing::warn!(causes = chain(&error), "dead sessions were not swept out");
    }
    if let Err(error) = app.tokens.sweep().await {
        tracing::warn!(causes = chain(&error), "old revocations were not swept out");
    }
}

async fn holds(app: &App, lease: &'static str) -> bool {
    app.leases.hold(lease, LEASE).await.unwrap_or_else(|error| {
        tracing::debug!(lease, causes = chain(&error), "a lease can't be had");
        false
    })
}

/// Deletes what was kept for apps that were offline, when they have been for too long; one replica does.
pub async fn sweep_offline(app: App) {
    if !holds(&app, OFFLINE).await {
        return;
    }
    if let Err(error) = app.idempotency.sweep().await {
        tracing::warn!(causes = chain(&error), "old idempotency keys were not swept out");
    }
    if let Err(error) = app.sync.sweep().await {
        tracing::warn!(causes = chain(&error), "old tombstones and operations were not swept out");
    }
}

/// Rotates the signing keys when it is time; one replica does.
pub async fn keep_keys(app: App) {
    if !holds(&app, KEYS).await {
        return;
    }
    if let Err(error) = app.tokens.housekeep().await {
        tracing::warn!(causes = chain(&error), "the signing keys were not looked after");
        // Another replica may have the right master secret.
        if let Err(error) = app.leases.give_up(KEYS).await {
            tracing::debug!(causes = chain(&error), "the lease of the keys was not given up");
        }
    }
}

//! What runs beside the requests, for as long as the server does.
//!
//! Twice a second every replica reads what the others changed. The chores of a whole installation are
//! done by whichever replica holds the lease. Nothing here is needed for an answer to be right: a
//! replica whose housekeeping fails goes on serving, and says so in the log.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::App;
use crate::error_chain::chain;

/// How often the changes of other replicas are read.
const POLL_EVERY: Duration = Duration::from_millis(400);
/// How often it is written which tokens were seen.
const FLUSH_USAGE_EVERY: Duration = Duration::from_secs(2);
/// How often what is dead is swept out, and the keys are looked after.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked up what the dearest password hash costs, which another replica may have made.
const LOAD_COST_EVERY: Duration = Duration::from_hours(1);
/// How long a replica that says no more keeps the others from a chore.
const LEASE_TTL: TimeDelta = TimeDelta::minutes(3);
/// The lease of whoever keeps the keys.
const KEYS_LEASE: &str = "keys";
/// The lease of whoever sweeps.
const SWEEP_LEASE: &str = "sweep";
/// The lease of whoever sweeps out what apps no longer ask for.
const SYNC_LEASE: &str = "offline";

/// Runs until it is dropped.
pub async fn run(app: App) {
    tokio::join!(
        every(POLL_EVERY, &app, poll),
        every(FLUSH_USAGE_EVERY, &app, flush_token_usage),
        every(SWEEP_EVERY, &app, sweep),
        every(SWEEP_EVERY, &app, rotate_keys),
        every(SWEEP_EVERY, &app, sweep_sync),
        async {
            load_max_hash_cost(app.clone()).await;
            every(LOAD_COST_EVERY, &app, load_max_hash_cost).await;
        }
    );
}

/// What is still to be written when the server stops.
pub async fn finish(app: &App) {
    flush_token_usage(app.clone()).await;
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

async fn load_max_hash_cost(app: App) {
    if let Err(error) = app.accounts.load_max_hash_cost().await {
        tracing::warn!(causes = chain(&error), "what the stored password hashes cost is not known");
    }
}

async fn flush_token_usage(app: App) {
    if let Err(error) = app.sessions.flush_token_usage().await {
        tracing::debug!(causes = chain(&error), "it was not written which tokens were seen");
    }
}

/// Deletes what has been dead for long; one replica does.
pub async fn sweep(app: App) {
    app.tokens.forget();
    if !holds(&app, SWEEP_LEASE).await {
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
    app.leases.hold(lease, LEASE_TTL).await.unwrap_or_else(|error| {
        tracing::debug!(lease, causes = chain(&error), "a lease can't be had");
        false
    })
}

/// Deletes what was kept for apps that were offline, when they have been for too long; one replica does.
pub async fn sweep_sync(app: App) {
    if !holds(&app, SYNC_LEASE).await {
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
pub async fn rotate_keys(app: App) {
    if !holds(&app, KEYS_LEASE).await {
        return;
    }
    if let Err(error) = app.tokens.housekeep().await {
        tracing::warn!(causes = chain(&error), "the signing keys were not looked after");
        // Another replica may have the right master secret.
        if let Err(error) = app.leases.give_up(KEYS_LEASE).await {
            tracing::debug!(causes = chain(&error), "the lease of the keys was not given up");
        }
    }
}

//! Background jobs, which run until the server stops.
//!
//! Every replica polls for the changes of the other replicas every 300 ms. Jobs that concern the whole
//! installation run on the replica that holds the job's lease. No response depends on these jobs for
//! correctness: a replica whose jobs fail keeps serving and logs the failures.
//!
//! Jobs that delete expired data or rotate keys run only while the clock is steady ([`Clock::is_steady`]).
//! Otherwise a clock that is temporarily wrong would cause these jobs to delete data that has not expired.
//!
//! [`Clock::is_steady`]: crate::clock::Clock::is_steady

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::{App, compare_clocks};
use crate::error_chain::error_chain;
use crate::replicas::HEARTBEAT_EVERY;
use crate::{metrics, operators};

/// How often to poll for the changes of other replicas.
const POLL_EVERY: Duration = Duration::from_millis(300);
/// How often to store the usage of tokens.
const FLUSH_USAGE_EVERY: Duration = Duration::from_secs(2);
/// How often to store collected security events.
const FLUSH_EVENTS_EVERY: Duration = Duration::from_secs(1);
/// How often to record the generation of the database in the data directory.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// How often to delete expired rows and to check whether the signing keys need rotation.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How often to load the highest bcrypt cost of the stored password hashes. Another replica can store a hash
/// with a higher cost at any time.
const LOAD_COST_EVERY: Duration = Duration::from_hours(1);
/// The duration of a lease. If a replica crashes, the other replicas can't run its jobs for up to this time.
const LEASE_TTL: TimeDelta = TimeDelta::minutes(3);
/// How often to count the mails of the outbox for the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// The lease of the key rotation.
const KEYS_LEASE: &str = "keys";
/// The lease of [`sweep`].
const SWEEP_LEASE: &str = "sweep";
/// The lease of [`back_up`].
const BACKUP_LEASE: &str = "backup";
/// The lease of [`sweep_sync`].
const SYNC_LEASE: &str = "offline";

/// Runs all jobs until the future is dropped.
pub async fn run(app: App) {
    tokio::join!(
        every(POLL_EVERY, &app, poll),
        every(FLUSH_USAGE_EVERY, &app, flush_token_usage),
        every(FLUSH_EVENTS_EVERY, &app, flush_events),
        every(MARK_EVERY, &app, mark),
        every(HEARTBEAT_EVERY, &app, beat),
        every(SWEEP_EVERY, &app, sweep),
        every(SWEEP_EVERY, &app, rotate_keys),
        every(SWEEP_EVERY, &app, sweep_sync),
        every(SWEEP_EVERY, &app, back_up),
        app.mail.run(),
        every(MEASURE_EVERY, &app, measure_outbox),
        async {
            load_max_hash_cost(app.clone()).await;
            every(LOAD_COST_EVERY, &app, load_max_hash_cost).await;
        }
    );
}

/// Stores pending token usage and events when the server stops. Records that the server stopped gracefully,
/// and deletes the row of this server from the table of servers.
pub async fn finish(app: &App) {
    flush_token_usage(app.clone()).await;
    flush_events(app.clone()).await;
    if let Err(error) = app.identity.finish().await {
        tracing::warn!(
            causes = error_chain(&error),
            "failed to record the graceful stop in the data directory"
        );
    }
    if let Err(error) = app.replicas.leave().await {
        tracing::debug!(
            causes = error_chain(&error),
            "failed to delete the row of this server from the list of servers"
        );
    }
}

async fn every<F: Future<Output = ()>>(period: Duration, app: &App, job: fn(App) -> F) {
    // The first run is after one period, because the server has read the current state when it started.
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        job(app.clone()).await;
    }
}

async fn poll(app: App) {
    // This call detects a jump of the clock even if the jump is undone before the next job checks the clock.
    let _is_steady = app.clock.is_steady();
    app.tokens.poll().await;
}

/// Sets the metrics of the outbox.
async fn measure_outbox(app: App) {
    let Ok(mails) = app.mail.list().await else { return };
    let (failed, waiting): (Vec<_>, Vec<_>) = mails.iter().partition(|mail| mail.failed_at.is_some());
    let count = |mails: Vec<_>| u64::try_from(mails.len()).unwrap_or(u64::MAX);
    let oldest = waiting.iter().map(|mail| mail.queued_at).min();
    let age = oldest.map(|oldest| app.clock.shared_now() - oldest).and_then(|age| age.to_std().ok());
    metrics::set_outbox(count(waiting), count(failed), age.unwrap_or_default());
}

async fn mark(app: App) {
    if let Err(error) = app.identity.mark(&app.db).await {
        tracing::debug!(
            causes = error_chain(&error),
            "failed to raise the generation of the database or to record it in the data directory"
        );
    }
}

/// Renews the row of this server, and compares this server with the other servers that use the database.
pub async fn beat(app: App) {
    if let Err(error) = app.replicas.beat().await {
        tracing::warn!(causes = error_chain(&error), "failed to compare this server with the other servers");
    }
}

async fn load_max_hash_cost(app: App) {
    if let Err(error) = app.accounts.load_max_hash_cost().await {
        tracing::warn!(causes = error_chain(&error), "failed to load the cost of the stored password hashes");
    }
}

async fn flush_token_usage(app: App) {
    if let Err(error) = app.sessions.flush_token_usage().await {
        tracing::debug!(causes = error_chain(&error), "failed to record token usage");
    }
    if let Err(error) = app.personal_tokens.flush_uses().await {
        tracing::debug!(causes = error_chain(&error), "failed to record the use of personal access tokens");
    }
}

async fn flush_events(app: App) {
    if let Err(error) = app.events.flush().await {
        tracing::warn!(causes = error_chain(&error), "failed to record security events");
    }
}

/// If the clock is steady and this replica holds the lease, deletes old data: expired sessions, revocations,
/// codes, invites, passkey challenges, throttle buckets and personal access tokens, old events, mails and
/// records of administrative commands, and the rows of servers that no longer run.
pub async fn sweep(app: App) {
    if !is_steady(&app).await {
        return;
    }
    app.tokens.prune_revocations();
    if !has_lease(&app, SWEEP_LEASE).await {
        return;
    }
    if let Err(error) = app.sessions.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired sessions");
    }
    if let Err(error) = app.mail.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete old mails");
    }
    if let Err(error) = app.throttle.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired throttle buckets");
    }
    if let Err(error) = app.events.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete old security events");
    }
    if let Err(error) = app.flows.sweep(&app.db).await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired codes");
    }
    if let Err(error) = app.invites.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired invites");
    }
    if let Err(error) = app.tokens.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired revocations");
    }
    if let Err(error) = app.passkeys.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired challenges of passkeys");
    }
    if let Err(error) = app.personal_tokens.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired personal access tokens");
    }
    if let Err(error) = app.replicas.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete the rows of stopped servers");
    }
    if let Err(error) = operators::sweep(&app.db, app.clock.now()).await {
        tracing::warn!(
            causes = error_chain(&error),
            "failed to delete old records of administrative commands"
        );
    }
}

/// Returns whether the clock is steady and agrees with the database's clock.
async fn is_steady(app: &App) -> bool {
    match compare_clocks(&app.db, &app.clock).await {
        Ok(()) => app.clock.is_steady(),
        Err(error) => {
            tracing::debug!(causes = error_chain(&error), "failed to read the clock of the database");
            false
        }
    }
}

async fn has_lease(app: &App, lease: &'static str) -> bool {
    app.leases.acquire(lease, LEASE_TTL).await.unwrap_or_else(|error| {
        tracing::debug!(lease, causes = error_chain(&error), "failed to acquire a lease");
        false
    })
}

/// If the clock is steady and this replica holds the lease, deletes expired idempotency keys, tombstones and
/// ids of sync operations, and returns free space to the file system.
pub async fn sweep_sync(app: App) {
    if !is_steady(&app).await || !has_lease(&app, SYNC_LEASE).await {
        return;
    }
    if let Err(error) = app.idempotency.sweep().await {
        tracing::warn!(causes = error_chain(&error), "failed to delete expired idempotency keys");
    }
    if let Err(error) = app.sync.sweep().await {
        tracing::warn!(
            causes = error_chain(&error),
            "failed to delete expired tombstones and ids of sync operations"
        );
    }
    if let Err(error) = app.db.release_space().await {
        tracing::warn!(causes = error_chain(&error), "failed to return free space to the file system");
    }
}

/// Makes a backup if the next scheduled backup is due and this replica holds the lease.
pub async fn back_up(app: App) {
    let settings = &app.backup_settings;
    if settings.dir.is_none() || !has_lease(&app, BACKUP_LEASE).await {
        return;
    }
    let every = TimeDelta::seconds(settings.every_secs.into());
    match app.backups.create_if_due(every, settings.keep).await {
        Ok(Some(backup)) => {
            tracing::info!(path = %backup.path.display(), bytes = backup.bytes, "made a backup");
            metrics::backed_up(Some(app.clock.now().timestamp()));
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(causes = error_chain(&error), "failed to make a backup");
            metrics::backed_up(None);
        }
    }
}

/// Rotates the signing keys when they are due, if the clock is steady and this replica holds the lease.
pub async fn rotate_keys(app: App) {
    if !is_steady(&app).await || !has_lease(&app, KEYS_LEASE).await {
        return;
    }
    if let Err(error) = app.tokens.housekeep().await {
        tracing::warn!(causes = error_chain(&error), "failed to rotate the signing keys");
        // Release the lease, because another replica possibly has the right master secret.
        if let Err(error) = app.leases.release(KEYS_LEASE).await {
            tracing::debug!(causes = error_chain(&error), "failed to release the lease of the key rotation");
        }
    }
}

//! Transactions on a database server.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sea_orm::{DatabaseConnection, TransactionTrait};

use super::write_gate::WriteGate;
use super::{ATTEMPTS, HasStoreError, LOCK_TIMEOUT, StoreError, Tx};

/// Runs `work` in a transaction. After a retryable error, runs `work` again, at most [`ATTEMPTS`] times in
/// total. `limit` is the time for all runs: `work` does not run again if its next run could exceed this time.
pub(super) async fn in_transaction<I, T, E, F>(
    pool: &DatabaseConnection,
    input: &I,
    work: &F,
    gate: &WriteGate,
    limit: Duration,
) -> Result<T, E>
where
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    let started = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let result = try_transaction(pool, input, work, gate).await;
        // A statement can wait for two locks one after the other, each for up to the timeout: first to become
        // the next in the queue for a row, then for the row itself.
        let is_last = attempt >= ATTEMPTS || started.elapsed() + 2 * LOCK_TIMEOUT >= limit;
        match result.as_ref().err().and_then(HasStoreError::store) {
            Some(error) if error.is_retryable() && !is_last => {
                tracing::debug!(%error, attempt, "retrying a transaction");
                tokio::time::sleep(retry_delay(attempt)).await;
            }
            _ => return result,
        }
    }
}

async fn try_transaction<I, T, E, F>(
    pool: &DatabaseConnection,
    input: &I,
    work: &F,
    gate: &WriteGate,
) -> Result<T, E>
where
    E: HasStoreError,
    F: for<'a> Fn(&'a Tx, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    // No statement has run yet, so the transaction can be retried if the connection is broken.
    let begun = pool.begin().await.map_err(|error| StoreError::from(error).before_any_work())?;
    let tx = Tx::transaction(begun);
    if !gate.start() {
        tx.rollback().await;
        return Err(StoreError::unavailable().into());
    }
    match work(&tx, input).await {
        Ok(value) => {
            if !gate.begin_commit() {
                tx.rollback().await;
                return Err(StoreError::unavailable().into());
            }
            let committed = tx.commit().await;
            if committed.as_ref().is_err_and(|failed| failed.error.is_retryable()) {
                // The COMMIT had no effect, so the caller can abandon the write until the next COMMIT.
                gate.reset();
            }
            committed.map_err(|failed| failed.error)?;
            Ok(value)
        }
        Err(error) => {
            tx.rollback().await;
            gate.reset();
            Err(error)
        }
    }
}

/// Returns the delay before the next attempt. The delay grows with the number of attempts and is partly
/// random.
pub(super) fn retry_delay(attempt: u32) -> Duration {
    let [jitter] = crate::secrets::random_bytes::<1>();
    Duration::from_millis(u64::from(attempt) * 4 + u64::from(jitter) / 8 * u64::from(attempt))
}

//! Lets the caller of a write and the task that runs it agree on whether the write may still be committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::{COMMIT_GRACE, HasStoreError, StoreError};

/// The progress of a write. The caller gives up after a timeout. A write that was then reported as not done
/// must not be committed later, so the caller and the task that runs the write synchronize through this gate.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteGate(Arc<AtomicU8>);

impl WriteGate {
    const WAITING: u8 = 0;
    const RUNNING: u8 = 1;
    const COMMITTING: u8 = 2;
    const ABANDONED: u8 = 3;

    /// Marks the write as running. Returns `false` if the caller has abandoned it.
    pub(super) fn start(&self) -> bool {
        self.change(Self::WAITING, Self::RUNNING) || self.0.load(Ordering::Acquire) == Self::RUNNING
    }

    /// Marks that COMMIT is sent next. Returns `false` if the caller has abandoned the write, which must then be
    /// rolled back.
    pub(super) fn begin_commit(&self) -> bool {
        self.change(Self::RUNNING, Self::COMMITTING) || self.is_committing()
    }

    /// Marks the write as waiting after its run was rolled back. The caller can abandon the write before the
    /// next run.
    pub(super) fn reset(&self) {
        let _ = self.change(Self::RUNNING, Self::WAITING) || self.change(Self::COMMITTING, Self::WAITING);
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_committing(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::COMMITTING
    }

    /// Abandons the write unless its COMMIT has begun. Returns whether it is abandoned.
    fn abandon(&self) -> bool {
        self.change(Self::WAITING, Self::ABANDONED) || self.change(Self::RUNNING, Self::ABANDONED)
    }

    /// Abandons a write whose result does not arrive, unless its COMMIT has begun. Returns the error of the
    /// write.
    pub(super) fn give_up(&self) -> StoreError {
        // Try twice: `reset` can run between the two steps of the first `abandon`, which then fails although
        // the write is waiting.
        if self.abandon() || self.abandon() { StoreError::unavailable() } else { StoreError::unknown() }
    }

    /// Waits for the result of the write. After `limit`, abandons the write if its COMMIT has not begun. If
    /// the COMMIT has begun, waits [`COMMIT_GRACE`] longer for its result.
    pub(super) async fn wait<T, E: HasStoreError>(
        &self,
        limit: Duration,
        result: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut result = std::pin::pin!(result);
        if let Ok(result) = timeout(limit, &mut result).await {
            return result;
        }
        if self.abandon() {
            return Err(StoreError::unavailable().into());
        }
        timeout(COMMIT_GRACE, result).await.unwrap_or_else(|_| Err(self.give_up().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    async fn never(gate: &WriteGate) -> StoreError {
        gate.wait(LIMIT, std::future::pending::<Result<(), StoreError>>()).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_write_that_times_out_before_its_commit_is_never_committed() {
        // F-10, S-108
        let waiting = WriteGate::default();
        assert!(matches!(never(&waiting).await, StoreError::Unavailable(_)));
        assert!(!waiting.start());
        let running = WriteGate::default();
        assert!(running.start());
        assert!(matches!(never(&running).await, StoreError::Unavailable(_)));
        assert!(!running.begin_commit());
    }

    #[tokio::test]
    async fn the_outcome_of_a_commit_that_times_out_is_unknown() {
        // F-10, S-108
        let gate = WriteGate::default();
        assert!(gate.start() && gate.begin_commit());
        assert!(matches!(never(&gate).await, StoreError::OutcomeUnknown(_)));
        gate.reset();
        assert!(matches!(never(&gate).await, StoreError::Unavailable(_)));
        assert!(!gate.start());
    }
}

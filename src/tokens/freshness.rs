//! Whether what is remembered of the database may be trusted.
//!
//! It is read anew twice a second. When that has failed for [`TRUSTED`], every request asks first,
//! and is told to come again if there is no answer: a replica that is cut off must not go on letting
//! in whom another one has shut out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;

/// For how long what was read last is trusted.
const TRUSTED: Duration = Duration::from_secs(10);
/// For how long one reading may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Freshness {
    stale: AtomicBool,
    last_good: Mutex<Instant>,
    last: Turn<Option<Attempt>>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    began: Instant,
    ended: Instant,
    worked: bool,
}

impl Freshness {
    /// Everything was read just now.
    pub(super) fn new() -> Self {
        Self {
            stale: AtomicBool::new(false),
            last_good: Mutex::new(Instant::now()),
            last: Turn::const_new(None),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// Reads anew, unless somebody else did so since we asked; `false` if that failed.
    pub(super) async fn renew<E: std::error::Error>(
        &self,
        read: impl Future<Output = Result<(), E>>,
    ) -> bool {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(attempt) = *last
            && (if attempt.worked { attempt.began } else { attempt.ended }) >= asked
        {
            return attempt.worked;
        }
        let began = Instant::now();
        let worked = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "what was revoked can't be read");
                false
            }
            Err(_) => false,
        };
        *last = Some(Attempt { began, ended: Instant::now(), worked });
        self.note(worked, began);
        worked
    }

    fn note(&self, worked: bool, began: Instant) {
        let mut last_good = self.last_good.lock().unwrap_or_else(PoisonError::into_inner);
        if worked {
            *last_good = began;
        }
        let stale = last_good.elapsed() >= TRUSTED;
        if self.stale.swap(stale, Ordering::Relaxed) != stale {
            if stale {
                tracing::warn!("what was revoked can't be read: every request asks the database from now on");
            } else {
                tracing::info!("what was revoked can be read again");
            }
        }
    }
}

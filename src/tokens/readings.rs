//! Reading the database for everybody who asks meanwhile, one reading at a time.
//!
//! Whoever asks while somebody reads waits, and is served by a reading that began after they asked: what
//! was changed in between the first may have missed. A reading that failed serves all who asked before
//! it ended, so that those who wait don't each wait for a failure of their own.

use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;

/// The readings of one thing.
#[derive(Debug)]
pub(super) struct Readings {
    /// For how long one may take.
    patience: Duration,
    last: Turn<Option<Reading>>,
}

/// How a reading ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) began: Instant,
    ended: Instant,
    pub(super) worked: bool,
}

impl Readings {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, last: Turn::const_new(None) }
    }

    /// Reads, at least `distance` after the last reading began, unless somebody else did so since we asked.
    pub(super) async fn share<E: std::error::Error>(
        &self,
        distance: Duration,
        read: impl Future<Output = Result<(), E>>,
    ) -> Reading {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(reading) = *last {
            if (if reading.worked { reading.began } else { reading.ended }) >= asked {
                return reading;
            }
            tokio::time::sleep_until((reading.began + distance).into()).await;
        }
        let began = Instant::now();
        let worked = match tokio::time::timeout(self.patience, read).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "what others changed can't be read");
                false
            }
            Err(_) => false,
        };
        let reading = Reading { began, ended: Instant::now(), worked };
        *last = Some(reading);
        reading
    }
}

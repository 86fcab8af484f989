//! Reading the database for everybody who asks meanwhile, one reading at a time.
//!
//! Whoever asks while somebody reads waits, and is served by a reading that began after they asked: what
//! was changed in between the first may have missed. A reading that failed serves all who asked before
//! it ended, so that those who wait don't each wait for a failure of their own.

use std::time::{Duration, Instant};

use tokio::sync::Mutex as Turn;

/// The readings of one thing.
#[derive(Debug)]
pub(super) struct SingleFlight {
    /// For how long one may take.
    timeout: Duration,
    last: Turn<Option<Flight>>,
}

/// How a reading ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) began: Instant,
    ended: Instant,
    pub(super) worked: bool,
}

impl SingleFlight {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, last: Turn::const_new(None) }
    }

    /// Reads, at least `min_interval` after the last reading began, unless somebody else did so since we asked.
    pub(super) async fn share<E: std::error::Error>(
        &self,
        min_interval: Duration,
        read: impl Future<Output = Result<(), E>>,
    ) -> Flight {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(reading) = *last {
            if (if reading.worked { reading.began } else { reading.ended }) >= asked {
                return reading;
            }
            tokio::time::sleep_until((reading.began + min_interval).into()).await;
        }
        let began = Instant::now();
        let worked = match tokio::time::timeout(self.timeout, read).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "what others changed can't be read");
                false
            }
            Err(_) => false,
        };
        let reading = Flight { began, ended: Instant::now(), worked };
        *last = Some(reading);
        reading
    }
}

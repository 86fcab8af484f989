//! Handles the signals of a server. SIGHUP loads the certificate again. SIGUSR1 and SIGXFSZ have no effect.
//! None of these signals ends the server.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::error_chain::error_chain;
use crate::listener::{Certificate, StopSignals};
use crate::metrics;

/// The interval at which the server checks whether the files of the certificate have changed.
const CHECK_FILES_EVERY: Duration = Duration::from_mins(1);

/// The signals that a server handles. After this value is created, these signals no longer end the process.
#[derive(Debug)]
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    hang_up: Signal,
    /// SIGUSR1. Many tools send it to make a program open its log files again, but this server has no log
    /// files.
    user: Signal,
    /// SIGXFSZ. The server ignores it, so that a write beyond the maximum file size fails instead of ending
    /// the process.
    _file_size: Signal,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            stop: crate::listener::stop_signals()?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Loads the certificate again on SIGHUP and when its files change, until a signal stops the server.
    pub(super) async fn until_stop(&mut self, certificate: Option<&Certificate>) {
        let mut checks = interval_at(Instant::now() + CHECK_FILES_EVERY, CHECK_FILES_EVERY);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.next() => return,
                _ = self.user.recv() => tracing::debug!("SIGUSR1 has no effect"),
                _ = self.hang_up.recv() => if let Some(certificate) = certificate {
                    reload(certificate);
                } else {
                    tracing::info!("SIGHUP has no effect: the server has no certificate");
                },
                _ = checks.tick() => if let Some(changed) = certificate.filter(|c| c.has_changed()) {
                    reload(changed);
                },
            }
        }
    }
}

fn reload(certificate: &Certificate) {
    let result = certificate.reload();
    metrics::certificate_reloaded(result.is_ok());
    match result {
        Ok(()) => tracing::info!("loaded the certificate again: new connections use the new certificate"),
        Err(error) => tracing::error!(
            causes = error_chain(&error),
            "failed to load the new certificate; the previous certificate stays in use"
        ),
    }
}

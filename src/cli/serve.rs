//! `tripgate serve` and `tripgate migrate`: the commands that need the runtime and the log.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{Stop, log};
use crate::app::{self, Migrate};
use crate::causes::chain;
use crate::config::Settings;

/// Time that blocking work has to end after the command is done.
const LINGER: Duration = Duration::from_secs(1);

pub(super) fn serve(settings: Settings) -> Result<(), Stop> {
    let _log = log::start(&settings).map_err(Stop::NoStart)?;
    let runtime = runtime()?;
    let result = runtime.block_on(app::serve(settings));
    runtime.shutdown_timeout(LINGER);
    result.map_err(|error| Stop::NoStart(chain(&error)))
}

pub(super) fn migrate(settings: &Settings, what: Migrate, out: &mut dyn Write) -> Result<(), Stop> {
    let _log = log::start(settings).map_err(Stop::NoStart)?;
    let runtime = runtime()?;
    let result = runtime.block_on(app::migrate(settings, what));
    runtime.shutdown_timeout(LINGER);
    let lines = result.map_err(|error| Stop::NoStart(chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .map_err(|error| Stop::output(&error))
}

/// A worker for every core.
fn runtime() -> Result<Runtime, Stop> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::NoStart(format!("the runtime can't be started: {error}")))
}

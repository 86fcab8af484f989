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
    block_on(app::serve(settings))?.map_err(|error| Stop::NoStart(chain(&error)))
}

pub(super) fn migrate(settings: &Settings, what: Migrate, out: &mut dyn Write) -> Result<(), Stop> {
    let _log = log::start(settings).map_err(Stop::NoStart)?;
    let lines = block_on(app::migrate(settings, what))?.map_err(|error| Stop::NoStart(chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .map_err(|error| Stop::output(&error))
}

/// Runs one command's work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Stop> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    Ok(result)
}

/// A worker for every core.
fn runtime() -> Result<Runtime, Stop> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::NoStart(format!("the runtime can't be started: {error}")))
}

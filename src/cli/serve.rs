//! `tripgate serve` and `tripgate migrate`: the commands that need the runtime and the log.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{CliError, logging};
use crate::app::{self, MigrateCommand};
use crate::config::Settings;
use crate::error_chain::chain;

/// Time that blocking work has to end after the command is done.
const LINGER: Duration = Duration::from_secs(1);

pub(super) fn serve(settings: Settings) -> Result<(), CliError> {
    let _log = logging::start(&settings).map_err(CliError::NoStart)?;
    block_on(app::serve(settings))?.map_err(|error| CliError::NoStart(chain(&error)))
}

pub(super) fn migrate(
    settings: &Settings,
    what: MigrateCommand,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let lines = block_on(app::migrate(settings, what))?.map_err(|error| CliError::NoStart(chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

/// Runs one command's work to its end.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    Ok(result)
}

/// A worker for every core.
fn runtime() -> Result<Runtime, CliError> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::NoStart(format!("the runtime can't be started: {error}")))
}

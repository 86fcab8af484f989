//! `tripgate serve` and `tripgate migrate`, and the multi-threaded runtime for commands.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::{CliError, logging};
use crate::admin::{self, MigrateCommand};
use crate::config::Settings;
use crate::error_chain::error_chain;

/// How long to wait for blocking tasks after the command has finished.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn serve(settings: Settings) -> Result<(), CliError> {
    let _log = logging::start(&settings).map_err(CliError::NoStart)?;
    block_on(crate::serve::serve(settings))?.map_err(|error| CliError::NoStart(error_chain(&error)))
}

pub(super) fn migrate(
    settings: &Settings,
    command: MigrateCommand,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let lines = block_on(admin::migrate(settings, command))?
        .map_err(|error| CliError::NoStart(error_chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

/// Runs a command's future to completion.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = runtime()?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(result)
}

/// Builds a runtime with one worker thread per core.
fn runtime() -> Result<Runtime, CliError> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::NoStart(format!("can't start the async runtime: {error}")))
}

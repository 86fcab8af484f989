//! Runs a command to completion and prints its lines.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::Builder;

use super::{CliError, log_escape, logging};
use crate::config::Settings;

/// How long to wait for blocking tasks after the command has finished.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the log, runs the command, and prints the lines that it returns.
pub(super) fn run_command(
    settings: &Settings,
    command: impl Future<Output = Result<Vec<String>, CliError>>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    block_on(command)??
        .iter()
        .try_for_each(|line| writeln!(out, "{}", log_escape::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

/// Runs a future to completion, on a runtime with one worker thread per core.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, CliError> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::NoStart(format!("failed to start the async runtime: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(result)
}

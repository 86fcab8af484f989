//! Runs commands that change the database while servers run, and prints the lines that they return.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::Builder;

use super::{CliError, logging};
use crate::admin::KeysError;
use crate::config::Settings;
use crate::error_chain::error_chain;

/// How long to wait for blocking tasks after the command has finished.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn run(
    settings: &Settings,
    command: impl Future<Output = Result<Vec<String>, KeysError>>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::NoStart(format!("can't start the async runtime: {error}")))?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    let lines = result.map_err(|error| match error {
        KeysError::Refused(why) => CliError::Failed(why),
        KeysError::Start(error) => CliError::NoStart(error_chain(&error)),
    })?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", logging::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

//! Commands that work on the database beside servers that run: they tell a few lines and end.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::Builder;

use super::{CliError, logging};
use crate::app::KeysError;
use crate::config::Settings;
use crate::error_chain::chain;

/// Time that blocking work has to end after the command is done.
const LINGER: Duration = Duration::from_secs(1);

pub(super) fn run(
    settings: &Settings,
    work: impl Future<Output = Result<Vec<String>, KeysError>>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::NoStart(format!("the runtime can't be started: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    let lines = done.map_err(|error| match error {
        KeysError::Refused(why) => CliError::Failed(why),
        KeysError::Start(error) => CliError::NoStart(chain(&error)),
    })?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", logging::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

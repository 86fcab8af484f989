//! Commands that work on the database beside servers that run: they tell a few lines and end.

use std::io::Write;
use std::time::Duration;

use tokio::runtime::Builder;

use super::{Stop, log};
use crate::app::KeysError;
use crate::causes::chain;
use crate::config::Settings;

/// Time that blocking work has to end after the command is done.
const LINGER: Duration = Duration::from_secs(1);

pub(super) fn run(
    settings: &Settings,
    work: impl Future<Output = Result<Vec<String>, KeysError>>,
    out: &mut dyn Write,
) -> Result<(), Stop> {
    let _log = log::start(settings).map_err(Stop::NoStart)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::NoStart(format!("the runtime can't be started: {error}")))?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LINGER);
    let lines = done.map_err(|error| match error {
        KeysError::Refused(why) => Stop::Failed(why),
        KeysError::Start(error) => Stop::NoStart(chain(&error)),
    })?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", log::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| Stop::output(&error))
}

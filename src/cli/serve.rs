//! `tripgate serve`: runs a server until it is stopped.

use super::run_command::block_on;
use super::{CliError, logging};
use crate::config::Settings;
use crate::error_chain::error_chain;

pub(super) fn serve(settings: Settings) -> Result<(), CliError> {
    let _log = logging::start(&settings).map_err(CliError::NoStart)?;
    block_on(crate::serve::serve(settings))?.map_err(|error| CliError::NoStart(error_chain(&error)))
}

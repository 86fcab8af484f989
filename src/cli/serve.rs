//! `tripgate serve`: runs a server until it is stopped.

use clap::{Arg, ArgAction, Command};

use super::run_command::block_on;
use super::{CliError, logging};
use crate::app::Creation;
use crate::config::Settings;
use crate::error_chain::error_chain;

pub(super) fn command() -> Command {
    let create = Arg::new("create")
        .long("create")
        .action(ArgAction::SetTrue)
        .help("Create a missing database or secret even if other files show that there was an earlier start");
    Command::new("serve").aliases(["start", "run"]).about("Serve the API (the default)").arg(create)
}

pub(super) fn serve(settings: Settings, create: bool) -> Result<(), CliError> {
    let _log = logging::start(&settings).map_err(CliError::NoStart)?;
    let creation = if create { Creation::Allowed } else { Creation::First };
    block_on(crate::serve::serve(settings, creation))?.map_err(|error| CliError::NoStart(error_chain(&error)))
}

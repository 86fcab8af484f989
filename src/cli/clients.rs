//! `tripgate clients`: makes, lists and removes the credentials of other services.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{CliError, logging, serve};
use crate::app::{self, ClientCommand};
use crate::config::Settings;
use crate::error_chain::chain;

pub(super) fn command() -> Command {
    let id = Arg::new("id").value_name("ID").required(true).help("The client_id, as `list` shows it");
    let name = Arg::new("name").value_name("NAME").required(true).help("What to call it; must be new");
    Command::new("clients")
        .about("Manage the services that may introspect and revoke tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("add")
                .about("Make credentials and print them; the secret is shown only now")
                .arg(name),
        )
        .subcommand(Command::new("list").about("List them: client_id, when it was made, name"))
        .subcommand(Command::new("remove").about("Take credentials back, at once").arg(id))
}

fn asked(args: &ArgMatches) -> ClientCommand {
    let text = |args: &ArgMatches, name| args.get_one::<String>(name).cloned().unwrap_or_default();
    match args.subcommand() {
        Some(("add", args)) => ClientCommand::Add(text(args, "name")),
        Some(("remove", args)) => ClientCommand::Remove(text(args, "id")),
        _ => ClientCommand::List,
    }
}

pub(super) fn run(settings: &Settings, args: &ArgMatches, out: &mut dyn Write) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let done = serve::block_on(app::manage_clients(settings, asked(args)))?;
    let lines = done
        .map_err(|error| CliError::NoStart(chain(&error)))?
        .map_err(|error| CliError::Failed(chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", logging::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

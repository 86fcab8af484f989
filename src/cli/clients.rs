//! `tripgate clients`: adds, lists and removes the credentials of other services.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{CliError, logging, serve};
use crate::admin::{self, ClientCommand};
use crate::config::Settings;
use crate::error_chain::error_chain;

pub(super) fn command() -> Command {
    let id = Arg::new("id").value_name("ID").required(true).help("The client_id, from `clients list`");
    let name =
        Arg::new("name").value_name("NAME").required(true).help("A name for the service; must be unique");
    Command::new("clients")
        .about("Manage the services that may introspect and revoke tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("add")
                .about("Create credentials and print them; the secret is shown only once")
                .arg(name),
        )
        .subcommand(Command::new("list").about("List all credentials: client_id, time of creation, name"))
        .subcommand(Command::new("remove").about("Remove credentials, with immediate effect").arg(id))
}

fn parse(args: &ArgMatches) -> ClientCommand {
    let text = |args: &ArgMatches, name| args.get_one::<String>(name).cloned().unwrap_or_default();
    match args.subcommand() {
        Some(("add", args)) => ClientCommand::Add(text(args, "name")),
        Some(("remove", args)) => ClientCommand::Remove(text(args, "id")),
        _ => ClientCommand::List,
    }
}

pub(super) fn run(settings: &Settings, args: &ArgMatches, out: &mut dyn Write) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let result = serve::block_on(admin::manage_clients(settings, parse(args)))?;
    let lines = result
        .map_err(|error| CliError::NoStart(error_chain(&error)))?
        .map_err(|error| CliError::Failed(error_chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", logging::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| CliError::output(&error))
}

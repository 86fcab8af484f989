//! `tripgate clients`: makes, lists and removes the credentials of other services.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{Stop, log, serve};
use crate::app::{self, ManageClients};
use crate::causes::chain;
use crate::config::Settings;

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

fn asked(args: &ArgMatches) -> ManageClients {
    let text = |args: &ArgMatches, name| args.get_one::<String>(name).cloned().unwrap_or_default();
    match args.subcommand() {
        Some(("add", args)) => ManageClients::Add(text(args, "name")),
        Some(("remove", args)) => ManageClients::Remove(text(args, "id")),
        _ => ManageClients::List,
    }
}

pub(super) fn run(settings: &Settings, args: &ArgMatches, out: &mut dyn Write) -> Result<(), Stop> {
    let _log = log::start(settings).map_err(Stop::NoStart)?;
    let done = serve::block_on(app::manage_clients(settings, asked(args)))?;
    let lines =
        done.map_err(|error| Stop::NoStart(chain(&error)))?.map_err(|error| Stop::Failed(chain(&error)))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", log::escaped(line)))
        .and_then(|()| out.flush())
        .map_err(|error| Stop::output(&error))
}

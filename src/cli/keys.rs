//! `tripgate keys`: shows, rotates and revokes the keys that sign tokens, while servers run.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{CliError, admin};
use crate::app::{self, KeyCommand};
use crate::config::Settings;

pub(super) fn command() -> Command {
    Command::new("keys")
        .about("Show, rotate and revoke the keys that sign tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List them, without anything private"))
        .subcommand(
            Command::new("rotate")
                .about("Let the next key sign at once; tokens that are out stay good (it happens by itself every 30 days)"),
        )
        .subcommand(
            Command::new("revoke")
                .about("Emergency: remove a key; every token that it signed is refused within a second")
                .arg(Arg::new("kid").value_name("KID").required(true).help("The key's name, from `keys list`")),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let what = match args.subcommand() {
        Some(("rotate", _)) => KeyCommand::Rotate,
        Some(("revoke", args)) => {
            KeyCommand::Revoke(args.get_one::<String>("kid").cloned().unwrap_or_default())
        }
        _ => KeyCommand::List,
    };
    admin::run(settings, app::keys(settings, what), out)
}

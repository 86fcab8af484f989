//! `tripgate keys`: lists, rotates and revokes the signing keys while servers run.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use super::{CliError, admin};
use crate::admin::{self as commands, KeyCommand};
use crate::config::Settings;

pub(super) fn command() -> Command {
    Command::new("keys")
        .about("List, rotate and revoke the keys that sign tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List all keys, without their private parts"))
        .subcommand(
            Command::new("rotate")
                .about("Sign with the next key at once; issued tokens stay valid (automatic every 30 days)"),
        )
        .subcommand(
            Command::new("revoke")
                .about("Emergency: remove a key; all tokens that it signed become invalid within a second")
                .arg(Arg::new("kid").value_name("KID").required(true).help("The key id, from `keys list`")),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let command = match args.subcommand() {
        Some(("rotate", _)) => KeyCommand::Rotate,
        Some(("revoke", args)) => {
            KeyCommand::Revoke(args.get_one::<String>("kid").cloned().unwrap_or_default())
        }
        _ => KeyCommand::List,
    };
    admin::run(settings, commands::keys(settings, command), out)
}

//! `tripgate secret`: changes the master secret while servers run. All sessions stay valid.

use std::io::Write;

use clap::{ArgMatches, Command};

use super::{CliError, admin};
use crate::admin::{self as commands, SecretCommand};
use crate::config::Settings;

pub(super) fn command() -> Command {
    Command::new("secret")
        .about("Change the master secret")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("prepare").about(
            "Add the next secret beside the current one, so that every replica can load it before it is used",
        ))
        .subcommand(
            Command::new("rotate")
                .about("Replace the secret and re-encrypt the keys; the previous secret stays accepted"),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let command = match args.subcommand() {
        Some(("prepare", _)) => SecretCommand::Prepare,
        _ => SecretCommand::Rotate,
    };
    admin::run(settings, commands::secrets(settings, command), out)
}

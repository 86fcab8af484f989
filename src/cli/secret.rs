//! `tripgate secret`: changes the master secret, while servers run and nobody is logged out.

use std::io::Write;

use clap::{ArgMatches, Command};

use super::{CliError, admin};
use crate::app::{self, SecretCommand};
use crate::config::Settings;

pub(super) fn command() -> Command {
    Command::new("secret")
        .about("Change the master secret")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("prepare").about(
                "Write the next secret beside the current one, so that every replica can know it first",
            ),
        )
        .subcommand(
            Command::new("rotate")
                .about("Replace the secret, and encrypt the keys anew; the former one stays known"),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let what = match args.subcommand() {
        Some(("prepare", _)) => SecretCommand::Prepare,
        _ => SecretCommand::Rotate,
    };
    admin::run(settings, app::secrets(settings, what), out)
}

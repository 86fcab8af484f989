//! The command line: what the program can be asked to do, and how it answers the shell. Command
//! output goes to standard output, the log and refusals to standard error. Exit codes: 0 done,
//! 1 a check failed, 2 bad settings or no start.

mod admin;
mod clients;
mod config;
mod keys;
mod log_writer;
mod logging;
mod openapi;
mod openapi_diff;
mod secret;
mod serve;
mod timestamp;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::app::MigrateCommand;
use crate::config::settings::{self, ValueKind};
use crate::config::{FILE_ARG, Settings};

/// Why a command did not do what it was asked; each is one message for standard error.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// A check failed, or the output could not be written.
    #[error("{0}")]
    Failed(String),
    /// Bad settings, or something that the start needs is missing.
    #[error("{0}")]
    NoStart(String),
}

impl CliError {
    fn output(error: &io::Error) -> Self {
        Self::Failed(format!("the output can't be written: {error}"))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::NoStart(_) => 2,
        }
    }
}

/// Does what the arguments ask for; the first one is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come here too, and end with 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            let _ = writeln!(io::stderr(), "tripgate: {stop}");
            ExitCode::from(stop.code())
        }
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), CliError> {
    let load = || Settings::load(matches).map_err(|error| CliError::NoStart(error.to_string()));
    let mut out = io::stdout();
    match matches.subcommand() {
        Some(("migrate", args)) => serve::migrate(&load()?.settings, migration(args), &mut out),
        Some(("clients", args)) => clients::run(&load()?.settings, args, &mut out),
        Some(("keys", args)) => keys::run(args, &load()?.settings, &mut out),
        Some(("secret", args)) => secret::run(args, &load()?.settings, &mut out),
        Some(("openapi", args)) => openapi::run(args, Path::new(""), &mut out),
        Some(("config", _)) => config::run(&load()?, &mut out),
        _ => serve::serve(load()?.settings),
    }
}

fn migration(args: &ArgMatches) -> MigrateCommand {
    match args.subcommand() {
        Some(("down", args)) => MigrateCommand::Down(args.get_one("steps").copied().unwrap_or(1)),
        Some(("status", _)) => MigrateCommand::Status,
        _ => MigrateCommand::Up,
    }
}

/// The whole command line.
fn command() -> Command {
    let file = Arg::new(FILE_ARG)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Read this file in place of tripgate.toml; it must exist");
    let migrate = Command::new("migrate")
        .about("Bring the database's tables up to date")
        .subcommand(Command::new("up").about("Apply what is missing (the default)"))
        .subcommand(
            Command::new("down").about("Take back the newest steps").arg(
                Arg::new("steps")
                    .long("steps")
                    .value_name("N")
                    .value_parser(value_parser!(u32).range(1..))
                    .default_value("1")
                    .help("How many steps"),
            ),
        )
        .subcommand(Command::new("status").about("List the steps and which are applied"));
    Command::new("tripgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "Without a command, tripgate serves. `tripgate --help` lists the settings; each can \
             also stand in\nthe environment or in .env (--bcrypt-cost is TRIPGATE_BCRYPT_COST) \
             and in tripgate.toml (bcrypt_cost).",
        )
        .subcommand(Command::new("serve").about("Serve the API (the default)"))
        .subcommand(migrate)
        .subcommand(keys::command())
        .subcommand(secret::command())
        .subcommand(openapi::command())
        .subcommand(clients::command())
        .subcommand(Command::new("config").about("Show every setting and where it comes from"))
        .arg(file)
        .args(settings::flags().map(|(row, flag)| setting_arg(row, flag)))
}

fn setting_arg(row: &'static settings::Setting, flag: &'static str) -> Arg {
    let words = match &row.takes {
        ValueKind::OneOf { now, .. } if now.len() > 1 => format!(" ({})", now.join(", ")),
        _ => String::new(),
    };
    let default = match row.default {
        "" => String::new(),
        text => format!(" [default: {text}]"),
    };
    Arg::new(row.name)
        .long(flag)
        .value_name(row.takes.placeholder())
        .action(ArgAction::Set)
        .global(true)
        .hide_short_help(true)
        .help_heading("Settings")
        .help(format!("{}{words}{default}", row.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> ArgMatches {
        command().try_get_matches_from(args).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_setting_may_stand_before_and_after_the_command() {
        for args in
            [["tripgate", "--bcrypt-cost", "5", "config"], ["tripgate", "config", "--bcrypt-cost", "5"]]
        {
            let matches = parse(&args);
            assert_eq!(matches.get_one::<String>("bcrypt_cost").unwrap(), "5");
        }
    }

    #[test]
    fn migrate_alone_goes_up_and_down_takes_one_step() {
        let asked = |args: &[&str]| match parse(args).subcommand() {
            Some((_, args)) => migration(args),
            None => MigrateCommand::Status,
        };
        assert!(matches!(asked(&["tripgate", "migrate"]), MigrateCommand::Up));
        assert!(matches!(asked(&["tripgate", "migrate", "down"]), MigrateCommand::Down(1)));
        let three = asked(&["tripgate", "migrate", "down", "--steps", "3"]);
        assert!(matches!(three, MigrateCommand::Down(3)));
        let zero = ["tripgate", "migrate", "down", "--steps", "0"];
        assert!(command().try_get_matches_from(zero).is_err());
    }

    #[test]
    fn long_help_lists_every_setting_under_its_heading() {
        let help = command().render_long_help().to_string();
        assert!(help.contains("\nSettings:\n"), "{help}");
        for (_, flag) in settings::flags() {
            assert!(help.contains(&format!("--{flag} ")), "{flag}");
        }
    }
}

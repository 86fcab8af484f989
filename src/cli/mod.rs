//! The command line. A command's output goes to standard output; the log and errors go to standard
//! error. Exit codes: 0 success, 1 the command or a check failed, 2 invalid settings or a failure to start.

mod audit;
mod backup;
mod clients;
mod config;
mod copy;
mod doctor;
mod epoch;
mod health;
mod invites;
mod keys;
mod log_escape;
mod log_json;
mod log_limit;
mod log_writer;
mod logging;
mod mail;
mod migrate;
mod openapi;
mod openapi_diff;
mod output;
mod run_command;
mod secret;
mod serve;
mod throttle;
mod timestamp;
mod upgrade;
mod users;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::admin::{KeysError, ManageClientsError};
use crate::app::StartError;
use crate::config::settings::{self, ValueKind};
use crate::config::{FILE_ARG, Settings};
use crate::error_chain::error_chain;

/// Why a command failed. Its message is printed on standard error.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The command or a check failed, or the output could not be written.
    #[error("{0}")]
    Failed(String),
    /// The settings are invalid, or a requirement for starting is missing.
    #[error("{0}")]
    NoStart(String),
}

impl CliError {
    fn output(error: &io::Error) -> Self {
        Self::Failed(format!("failed to write the output: {error}"))
    }

    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::NoStart(_) => 2,
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::NoStart(error_chain(&error))
    }
}

impl From<KeysError> for CliError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Start(error) => error.into(),
            KeysError::WrongSecret
            | KeysError::ConcurrentRotation
            | KeysError::NoSuchKey { .. }
            | KeysError::SecretInSettings => Self::Failed(error_chain(&error)),
        }
    }
}

impl From<ManageClientsError> for CliError {
    fn from(error: ManageClientsError) -> Self {
        match error {
            ManageClientsError::Start(error) => error.into(),
            ManageClientsError::Clients(error) => Self::Failed(error_chain(&error)),
        }
    }
}

/// Runs the command that the arguments select; the first argument is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            // clap returns help and version as errors too, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tripgate: {error}");
            ExitCode::from(error.code())
        }
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), CliError> {
    let load = || Settings::load(matches).map_err(|error| CliError::NoStart(error.to_string()));
    let mut out = io::stdout();
    match matches.subcommand() {
        Some(("migrate", args)) => migrate::run(args, &load()?.settings, &mut out),
        Some(("clients", args)) => clients::run(args, &load()?.settings, &mut out),
        Some(("keys", args)) => keys::run(args, &load()?.settings, &mut out),
        Some(("secret", args)) => secret::run(args, &load()?.settings, &mut out),
        Some(("openapi", args)) => openapi::run(args, Path::new(""), &mut out),
        Some(("backup", args)) => backup::run(args, &load()?.settings, &mut out),
        Some(("copy", args)) => copy::run(args, &load()?.settings, &mut out),
        Some(("upgrade", args)) => upgrade::run(args, &load()?.settings, &mut out),
        Some(("mail", args)) => mail::run(args, &load()?.settings, &mut out),
        Some(("epoch", args)) => epoch::run(args, &load()?.settings, &mut out),
        Some(("health", args)) => health::run(args, &load()?.settings, &mut out),
        Some(("doctor", args)) => doctor::run(args, &load()?.settings, &mut out),
        Some(("users", args)) => users::run(args, &load()?.settings, &mut out),
        Some(("audit", args)) => audit::run(args, &load()?.settings, &mut out),
        Some(("invites", args)) => invites::run(args, &load()?.settings, &mut out),
        Some(("throttle", args)) => throttle::run(args, &load()?.settings, &mut out),
        Some(("config", _)) => config::run(&load()?, &mut out),
        Some(("serve", args)) => serve::serve(load()?.settings, args.get_flag("create")),
        _ => serve::serve(load()?.settings, false),
    }
}

/// Returns the value of a required argument.
fn required<'a>(args: &'a ArgMatches, name: &str) -> &'a str {
    args.get_one::<String>(name).map_or("", String::as_str)
}

/// Returns the definition of the command line.
fn command() -> Command {
    let file = Arg::new(FILE_ARG)
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Read this file instead of tripgate.toml; it must exist");
    Command::new("tripgate")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "Without a command, tripgate runs `serve`. `tripgate --help` lists the settings. Each can \
             also be set in\nthe environment or in .env (--bcrypt-cost is TRIPGATE_BCRYPT_COST) \
             and in tripgate.toml (bcrypt_cost).",
        )
        .subcommand(serve::command())
        .subcommand(migrate::command())
        .subcommand(keys::command())
        .subcommand(secret::command())
        .subcommand(openapi::command())
        .subcommand(users::command())
        .subcommand(audit::command())
        .subcommand(clients::command())
        .subcommand(epoch::command())
        .subcommand(backup::command())
        .subcommand(copy::command())
        .subcommand(upgrade::command())
        .subcommand(mail::command())
        .subcommand(health::command())
        .subcommand(doctor::command())
        .subcommand(throttle::command())
        .subcommand(invites::command())
        .subcommand(Command::new("config").about("Show every setting with its value and source"))
        .arg(file)
        .args(settings::flags().map(|(setting, flag)| setting_arg(setting, flag)))
}

fn setting_arg(setting: &'static settings::Setting, flag: &'static str) -> Arg {
    let choices = match &setting.kind {
        ValueKind::OneOf(accepted) if accepted.len() > 1 => format!(" ({})", accepted.join(", ")),
        _ => String::new(),
    };
    let default = match setting.default {
        "" => String::new(),
        text => format!(" [default: {text}]"),
    };
    Arg::new(setting.name)
        .long(flag)
        .value_name(setting.kind.placeholder())
        .action(ArgAction::Set)
        .global(true)
        .hide_short_help(true)
        .help_heading("Settings")
        .help(format!("{}{choices}{default}", setting.help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> ArgMatches {
        command().try_get_matches_from(args).unwrap()
    }

    #[test]
    fn the_definition_of_the_command_line_passes_the_checks_of_clap() {
        command().debug_assert();
    }

    #[test]
    fn the_flag_of_a_setting_is_accepted_before_and_after_the_command() {
        for args in
            [["tripgate", "--bcrypt-cost", "5", "config"], ["tripgate", "config", "--bcrypt-cost", "5"]]
        {
            let matches = parse(&args);
            assert_eq!(matches.get_one::<String>("bcrypt_cost").unwrap(), "5");
        }
    }

    #[test]
    fn the_long_help_text_lists_every_setting_under_the_heading_settings() {
        let help = command().render_long_help().to_string();
        assert!(help.contains("\nSettings:\n"), "{help}");
        for (_, flag) in settings::flags() {
            assert!(help.contains(&format!("--{flag} ")), "{flag}");
        }
    }
}

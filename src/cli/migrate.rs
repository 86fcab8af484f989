//! `tripgate migrate`: migrates the database's schema and lists the migration steps.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::CliError;
use super::run_command::run_command;
use crate::admin;
use crate::config::Settings;
use crate::db::{MigrationState, MigrationStep};

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Up,
    Down(u32),
    Status,
}

pub(super) fn command() -> Command {
    Command::new("migrate")
        .about("Migrate the database's schema")
        .subcommand(Command::new("up").about("Apply all pending steps (the default)"))
        .subcommand(
            Command::new("down").about("Revert the newest steps").arg(
                Arg::new("steps")
                    .long("steps")
                    .value_name("N")
                    .value_parser(value_parser!(u32).range(1..))
                    .default_value("1")
                    .help("Number of steps"),
            ),
        )
        .subcommand(Command::new("status").about("List all steps and whether they are applied"))
}

fn parse(args: &ArgMatches) -> Action {
    match args.subcommand() {
        Some(("down", args)) => Action::Down(args.get_one("steps").copied().unwrap_or(1)),
        Some(("status", _)) => Action::Status,
        _ => Action::Up,
    }
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let command = async {
        let steps = match parse(args) {
            Action::Up => admin::migrate_up(settings).await?,
            Action::Down(count) => admin::migrate_down(settings, count).await?,
            Action::Status => admin::migration_status(settings).await?,
        };
        Ok(steps.iter().map(step_line).collect())
    };
    run_command(settings, command, out)
}

fn step_line(step: &MigrationStep) -> String {
    let state = match step.state {
        MigrationState::Applied => "applied",
        MigrationState::Pending => "pending",
    };
    format!("{state:8} {}", step.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrate_means_migrate_up_and_migrate_down_reverts_one_step_by_default() {
        let parsed = |args: &[&str]| parse(&command().try_get_matches_from(args).unwrap());
        assert_eq!(parsed(&["migrate"]), Action::Up);
        assert_eq!(parsed(&["migrate", "up"]), Action::Up);
        assert_eq!(parsed(&["migrate", "down"]), Action::Down(1));
        assert_eq!(parsed(&["migrate", "down", "--steps", "3"]), Action::Down(3));
        assert_eq!(parsed(&["migrate", "status"]), Action::Status);
        assert!(command().try_get_matches_from(["migrate", "down", "--steps", "0"]).is_err());
    }

    #[test]
    fn the_line_for_a_migration_step_shows_its_state_and_its_name() {
        let line =
            |state| step_line(&MigrationStep { name: "m20261122_000001_foundation".to_owned(), state });
        assert_eq!(line(MigrationState::Applied), "applied  m20261122_000001_foundation");
        assert_eq!(line(MigrationState::Pending), "pending  m20261122_000001_foundation");
    }
}

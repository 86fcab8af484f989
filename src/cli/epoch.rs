//! `tripgate epoch`: begins a new feed epoch after a backup was restored.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::CliError;
use super::run_command::run_command;
use crate::admin;
use crate::config::Settings;
use crate::epochs::Renewed;

pub(super) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("epoch")
        .about("Manage the feed epoch, by which apps detect that a backup was restored")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("renew")
                .about("Begin a new epoch, after a backup was restored: apps then load all trips again")
                .arg(flag("end-sessions").help("Also end all sessions: every user must log in again"))
                .arg(flag("json").help("Print one JSON object")),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let Some(args) = args.subcommand_matches("renew") else { return Ok(()) };
    let end_sessions = args.get_flag("end-sessions");
    let command = async {
        let renewed = admin::renew_epoch(settings, end_sessions).await?;
        let json = args.get_flag("json");
        Ok(if json { vec![as_json(&renewed)] } else { as_lines(&renewed, end_sessions) })
    };
    run_command(settings, command, out)
}

fn as_json(Renewed { state, trips, ended_sessions }: &Renewed) -> String {
    json!({
        "database": state.database,
        "epoch": state.epoch.to_string(),
        "trips": trips,
        "ended_sessions": ended_sessions,
    })
    .to_string()
}

fn as_lines(Renewed { trips, ended_sessions, .. }: &Renewed, end_sessions: bool) -> Vec<String> {
    vec![
        "A new feed epoch has begun: apps load all trips again.".to_owned(),
        format!(
            "{trips} trips have a new version. Changes that are based on an earlier version are rejected."
        ),
        if end_sessions {
            format!("{ended_sessions} sessions were ended: their users must log in again.")
        } else {
            "Sessions that are in the database stay valid. The users of all other sessions must log in again."
                .to_owned()
        },
    ]
}

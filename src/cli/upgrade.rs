//! `tripgate upgrade --rehearse`: runs the pending migrations on a copy of the database.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::CliError;
use super::copy::parse_target;
use super::output::{json_flag, seconds};
use super::run_command::run_command;
use crate::admin::{self, RehearseUpgradeError, RehearsedUpgrade};
use crate::config::Settings;
use crate::db::{CopyError, Rehearsal, RehearsedStep};
use crate::error_chain::error_chain;

impl From<RehearseUpgradeError> for CliError {
    fn from(error: RehearseUpgradeError) -> Self {
        match error {
            RehearseUpgradeError::Start(error) => error.into(),
            RehearseUpgradeError::Copy(error @ CopyError::Open(_)) => Self::NoStart(error_chain(&error)),
            error => Self::Failed(error_chain(&error)),
        }
    }
}

pub(super) fn command() -> Command {
    Command::new("upgrade")
        .about("Rehearse the pending migrations on a copy of the database")
        .arg(Arg::new("rehearse").long("rehearse").action(ArgAction::SetTrue).required(true).help(
            "Run the pending migrations on a copy, and report durations and disk space; changes nothing else",
        ))
        .arg(
            Arg::new("to").long("to").value_name("URL").help(
                "Copy to this empty database; without it, a SQLite database is copied to a file beside it",
            ),
        )
        .arg(json_flag())
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let scratch = args.get_one::<String>("to").map(|text| parse_target(text)).transpose()?;
    let mut failed = None;
    let command = async {
        let rehearsed = admin::rehearse_upgrade(settings, scratch.as_deref()).await?;
        failed = rehearsed.rehearsal.as_ref().and_then(failed_step).map(|step| step.name.clone());
        let json = args.get_flag("json");
        Ok(if json { vec![as_json(&rehearsed).to_string()] } else { as_lines(&rehearsed) })
    };
    run_command(settings, command, out)?;
    match failed {
        Some(step) => Err(CliError::Failed(format!("the step {step} fails: do not upgrade this database"))),
        None => Ok(()),
    }
}

fn failed_step(rehearsal: &Rehearsal) -> Option<&RehearsedStep> {
    rehearsal.steps.iter().find(|step| step.error.is_some())
}

/// Returns how much the database grows during the migration, in bytes.
fn growth(rehearsal: &Rehearsal) -> u64 {
    rehearsal.bytes_after.saturating_sub(rehearsal.bytes_before)
}

fn as_json(rehearsed: &RehearsedUpgrade) -> Value {
    let steps = rehearsed
        .rehearsal
        .iter()
        .flat_map(|rehearsal| &rehearsal.steps)
        .map(|step| json!({ "step": step.name, "seconds": seconds(step.duration), "error": step.error }));
    let bytes = |of: fn(&Rehearsal) -> u64| rehearsed.rehearsal.as_ref().map_or(0, of);
    json!({
        "database": rehearsed.database,
        "steps": steps.collect::<Vec<_>>(),
        "succeeded": rehearsed.rehearsal.as_ref().and_then(failed_step).is_none(),
        "copy_seconds": seconds(rehearsed.copy_duration),
        "database_bytes": bytes(|rehearsal| rehearsal.bytes_before),
        "migration_bytes": bytes(growth),
        "backup_bytes": rehearsed.backup_bytes,
    })
}

fn as_lines(rehearsed: &RehearsedUpgrade) -> Vec<String> {
    let Some(rehearsal) = &rehearsed.rehearsal else {
        return vec![format!("No migration is pending for {}.", rehearsed.database)];
    };
    let step = |RehearsedStep { name, duration, error }: &RehearsedStep| {
        let result = error.as_ref().map_or_else(|| "ok".to_owned(), |error| format!("failed: {error}"));
        format!("{:>8.2} s  {name}  {result}", duration.as_secs_f64())
    };
    let mut lines: Vec<String> = rehearsal.steps.iter().map(step).collect();
    lines.push(format!(
        "The database has {} bytes; the migration needs {} more, and the backup before it up to {}.",
        rehearsal.bytes_before,
        growth(rehearsal),
        rehearsed.backup_bytes
    ));
    lines.push("Only a copy was changed.".to_owned());
    lines
}

//! `tripgate backup`: makes, lists, checks and restores backups.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::CliError;
use super::run_command::run_command;
use crate::admin::{self, ManageBackupsError, Restored};
use crate::backups::{Backup, Header};
use crate::config::Settings;
use crate::error_chain::error_chain;

impl From<ManageBackupsError> for CliError {
    fn from(error: ManageBackupsError) -> Self {
        match error {
            ManageBackupsError::Start(error) => error.into(),
            error => Self::Failed(error_chain(&error)),
        }
    }
}

pub(super) fn command() -> Command {
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    let file = || Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    Command::new("backup")
        .about("Back up the database and restore a backup")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("create").about("Make a backup, also while servers run").arg(json()))
        .subcommand(Command::new("list").about("List the backups, newest first").arg(json()))
        .subcommand(Command::new("verify").about("Check a backup by unpacking it").arg(file()).arg(json()))
        .subcommand(
            Command::new("restore")
                .about("Replace the database by a backup, and begin a new feed epoch; stop all servers first")
                .arg(file())
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .action(ArgAction::SetTrue)
                        .help("Replace an existing database"),
                )
                .arg(json()),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let Some((name, args)) = args.subcommand() else { return Ok(()) };
    let file = args.try_get_one::<PathBuf>("file").ok().flatten().map_or(Path::new(""), PathBuf::as_path);
    let json = args.get_flag("json");
    let command = async {
        Ok(match name {
            "create" => {
                let created = admin::create_backup(settings).await?;
                if json { vec![as_json(&created).to_string()] } else { vec![as_line(&created)] }
            }
            "list" => {
                let found = admin::list_backups(settings)?;
                if json {
                    vec![found.iter().map(as_json).collect::<Value>().to_string()]
                } else {
                    found.iter().map(as_line).collect()
                }
            }
            "verify" => {
                let header = admin::verify_backup(settings, file).await?;
                let sound = json!({ "path": file.display().to_string(), "sound": true, "backup": header });
                if json {
                    vec![sound.to_string()]
                } else {
                    vec![format!("{} is sound: {}", file.display(), described(&header))]
                }
            }
            _ => {
                let restored = admin::restore_backup(settings, file, args.get_flag("yes")).await?;
                if json { vec![restored_json(&restored)] } else { restored_lines(&restored) }
            }
        })
    };
    run_command(settings, command, out)
}

fn as_json(backup: &Backup) -> Value {
    let (path, bytes) = (backup.path.display().to_string(), backup.bytes);
    match &backup.header {
        Ok(Header { created_at, version, kind, schema, encryption, .. }) => json!({
            "path": path, "bytes": bytes, "created_at": created_at, "version": version, "kind": kind, "schema": schema,
            "encrypted": encryption.is_some(),
        }),
        Err(error) => json!({ "path": path, "bytes": bytes, "error": error_chain(error) }),
    }
}

fn as_line(backup: &Backup) -> String {
    let about = backup.header.as_ref().map_or_else(|error| error_chain(error), described);
    format!("{}  {} bytes, {about}", backup.path.display(), backup.bytes)
}

fn described(header: &Header) -> String {
    let Header { kind, version, .. } = header;
    let encrypted = if header.encryption.is_some() { "encrypted, " } else { "" };
    format!(
        "{kind}, {encrypted}made {} by version {version}",
        header.created_at.format("%Y-%m-%d %H:%M:%S UTC")
    )
}

fn restored_json(Restored { header, renewed, replaced }: &Restored) -> String {
    json!({
        "backup": header,
        "epoch": renewed.state.epoch.to_string(),
        "trips": renewed.trips,
        "replaced": replaced.as_ref().map(|path| path.display().to_string()),
    })
    .to_string()
}

fn restored_lines(Restored { header, replaced, .. }: &Restored) -> Vec<String> {
    let mut lines = vec![
        format!("The backup was restored: {}.", described(header)),
        "A new feed epoch has begun: apps load all trips again. Users whose session was refreshed after the \
         backup must log in again."
            .to_owned(),
    ];
    if let Some(replaced) = replaced {
        lines.push(format!(
            "The replaced database is {}. Remove it when you don't need it.",
            replaced.display()
        ));
    }
    lines
}

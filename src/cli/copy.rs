//! `tripgate copy`: copies everything to another database.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::output::{json_flag, progress_bar, seconds};
use super::run_command::run_command;
use super::{CliError, required};
use crate::admin::{self, Copied, CopyDatabaseError};
use crate::config::{Settings, parse_database_url};
use crate::db::{CopyError, CopyProgress};
use crate::error_chain::error_chain;

impl From<CopyDatabaseError> for CliError {
    fn from(error: CopyDatabaseError) -> Self {
        match error {
            CopyDatabaseError::Start(error) => error.into(),
            CopyDatabaseError::Copy(error @ CopyError::Open(_)) => Self::NoStart(error_chain(&error)),
            error => Self::Failed(error_chain(&error)),
        }
    }
}

pub(super) fn command() -> Command {
    Command::new("copy")
        .about("Copy the database to another database, or only the changes since the last copy")
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("URL")
                .required(true)
                .help("The target: an empty database, or an earlier copy of the configured database"),
        )
        .arg(json_flag())
}

/// Parses the value of `--to`.
pub(super) fn parse_target(text: &str) -> Result<String, CliError> {
    let url =
        parse_database_url(text).map_err(|fault| CliError::NoStart(format!("the value of --to {fault}")))?;
    Ok(url.expose().to_owned())
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let target = parse_target(required(args, "to"))?;
    let command = async {
        let bar = progress_bar();
        let progress = |CopyProgress { table, rows, total }: CopyProgress<'_>| {
            bar.set_length(total);
            bar.set_position(rows);
            bar.set_message(table.to_owned());
        };
        let copied = admin::copy_database(settings, &target, &progress).await;
        bar.finish_and_clear();
        let copied = copied?;
        Ok(if args.get_flag("json") { vec![as_json(&copied)] } else { as_lines(&copied) })
    };
    run_command(settings, command, out)
}

fn as_json(copied: &Copied) -> String {
    let tables = copied.tables.iter().map(|table| {
        json!({
            "table": table.name, "rows": table.rows, "inserted": table.inserted, "sha256": table.sha256,
        })
    });
    json!({
        "source": copied.source,
        "target": copied.target,
        "tables": tables.collect::<Vec<_>>(),
        "rows": rows(copied),
        "verified": true,
        "servers_running": copied.servers_running,
        "seconds": seconds(copied.duration),
    })
    .to_string()
}

fn as_lines(copied: &Copied) -> Vec<String> {
    let mut lines: Vec<String> = copied
        .tables
        .iter()
        .map(|table| {
            let (digest, inserted) = (table.sha256.get(..16).unwrap_or_default(), table.inserted);
            format!("{:20} {:>10} rows, {inserted} inserted, sha256 {digest}…", table.name, table.rows)
        })
        .collect();
    lines.push(format!(
        "{} rows are in {} with the same checksums as in {}, after {:.1} seconds.",
        rows(copied),
        copied.target,
        copied.source,
        copied.duration.as_secs_f64()
    ));
    lines.push(if copied.servers_running {
        "Servers still use the source, and their later changes are not in the copy. Stop the servers and run the \
         command again: it copies only the differences."
            .to_owned()
    } else {
        "Start the servers with TRIPGATE_DATABASE_URL set to the target, and the same data directory.".to_owned()
    });
    lines
}

fn rows(copied: &Copied) -> u64 {
    copied.tables.iter().map(|table| table.rows).sum()
}

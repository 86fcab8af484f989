//! `tripgate copy`: copies everything to another database.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::run_command::run_command;
use super::{CliError, required};
use crate::admin::{self, Copied, CopyDatabaseError};
use crate::config::{Settings, parse_database_url};
use crate::db::{CopyError, CopyProgress};
use crate::error_chain::error_chain;

/// The interval between two lines of progress.
const INTERVAL: Duration = Duration::from_millis(200);

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
        .about("Copy everything to another database, or what has changed since the last copy")
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("URL")
                .required(true)
                .help("The target: an empty database, or an earlier copy of this one"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object"))
}

/// Parses the value of `--to`.
pub(super) fn parse_target(text: &str) -> Result<String, CliError> {
    let url =
        parse_database_url(text).map_err(|fault| CliError::NoStart(format!("the value of --to {fault}")))?;
    Ok(url.expose().to_owned())
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let target = parse_target(required(args, "to"))?;
    let is_shown = !args.get_flag("json") && io::stderr().is_terminal();
    let last = Cell::new(None::<Instant>);
    let progress = |progress: CopyProgress<'_>| {
        if is_shown && last.get().is_none_or(|last| last.elapsed() >= INTERVAL) {
            last.set(Some(Instant::now()));
            // Ignore an error, because the copy continues if the terminal is closed.
            let _ = write!(io::stderr(), "\r\x1b[K{}", progress_line(progress));
        }
    };
    let command = async {
        let copied = admin::copy_database(settings, &target, &progress).await;
        if last.get().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let copied = copied?;
        Ok(if args.get_flag("json") { vec![as_json(&copied)] } else { as_lines(&copied) })
    };
    run_command(settings, command, out)
}

fn progress_line(CopyProgress { table, rows, total }: CopyProgress<'_>) -> String {
    format!("{} %  {rows} of {total} rows, {table}", rows * 100 / total.max(1))
}

fn as_json(copied: &Copied) -> String {
    let tables = copied.tables.iter().map(|table| {
        json!({
            "table": table.name, "rows": table.rows, "inserted": table.inserted, "sha256": table.sha256,
        })
    });
    let (rows, seconds) = speed(copied);
    json!({
        "source": copied.source,
        "target": copied.target,
        "tables": tables.collect::<Vec<_>>(),
        "rows": rows,
        "verified": true,
        "servers_running": copied.servers_running,
        "seconds": seconds,
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
    let (rows, seconds) = speed(copied);
    lines.push(format!(
        "{rows} rows are in {} with the same checksums as in {}, after {seconds:.1} seconds.",
        copied.target, copied.source
    ));
    lines.push(if copied.servers_running {
        "Servers use the source: their later changes are not in the copy. Stop them and run the command again; it \
         copies only the differences."
            .to_owned()
    } else {
        "Start the servers with TRIPGATE_DATABASE_URL set to the target, and the same data directory.".to_owned()
    });
    lines
}

/// Returns the number of rows and the duration in seconds, to a millisecond.
fn speed(copied: &Copied) -> (u64, f64) {
    let rows = copied.tables.iter().map(|table| table.rows).sum();
    (rows, (copied.duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

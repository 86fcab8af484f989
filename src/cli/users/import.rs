//! `tripgate users import`: imports the users of another system.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::admin::{self, Import, ImportFault, ImportFormat, ImportReport, Progress};
use crate::cli::CliError;
use crate::cli::output::{json_flag, object, progress_bar};
use crate::cli::run_command::run_command;
use crate::config::Settings;

pub(super) fn command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("A CSV file with a header, or a file with one JSON object in each line");
    let format = Arg::new("format")
        .long("format")
        .value_name("FORMAT")
        .value_parser(["csv", "jsonl"])
        .help("The format [default: the extension of FILE]");
    let dry_run = Arg::new("dry-run")
        .long("dry-run")
        .action(ArgAction::SetTrue)
        .help("Check the file, and import nothing");
    Command::new("import")
        .about("Import the users of another system with their bcrypt hashes; can be repeated")
        .arg(file)
        .arg(format)
        .arg(dry_run)
        .arg(json_flag())
}

/// Runs the import and prints its report. If the file has faults, fails after printing them.
pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let path = args.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let format = format(args, &path)?;
    let import = Import { path, format, is_dry_run: args.get_flag("dry-run") };
    let (mut faults, mut imported) = (0, 0);
    let command = async {
        let bar = progress_bar();
        let report = admin::import_users(settings, &import, &mut |progress| show(&bar, progress)).await;
        bar.finish_and_clear();
        let report = report?;
        (faults, imported) = (report.faults.len() as u64 + report.more_faults, report.imported);
        Ok(if args.get_flag("json") {
            vec![report_json(&report, import.is_dry_run).to_string()]
        } else {
            report_lines(&report, import.is_dry_run)
        })
    };
    run_command(settings, command, out)?;
    match faults {
        0 => Ok(()),
        1 => Err(CliError::Failed(format!("1 fault; {imported} users were imported"))),
        count => Err(CliError::Failed(format!("{count} faults; {imported} users were imported"))),
    }
}

fn format(args: &ArgMatches, path: &Path) -> Result<ImportFormat, CliError> {
    let chosen = args.get_one::<String>("format").map(String::as_str);
    match chosen.or_else(|| path.extension().and_then(|extension| extension.to_str())) {
        Some("csv") => Ok(ImportFormat::Csv),
        Some("jsonl" | "ndjson") => Ok(ImportFormat::JsonLines),
        _ => Err(CliError::NoStart("add --format csv or --format jsonl".to_owned())),
    }
}

fn show(bar: &ProgressBar, Progress { is_writing, bytes, total }: Progress) {
    bar.set_length(total);
    bar.set_position(bytes);
    bar.set_message(if is_writing { "importing" } else { "checking" });
}

fn report_json(report: &ImportReport, is_dry_run: bool) -> Value {
    object([
        ("dry_run", Some(json!(is_dry_run))),
        ("imported", Some(json!(report.imported))),
        ("existing", Some(json!(report.existing))),
        ("faults", Some(report.faults.iter().map(fault_json).collect())),
        ("more_faults", Some(json!(report.more_faults))),
    ])
}

fn fault_json(ImportFault { line, column, message }: &ImportFault) -> Value {
    object([
        ("line", Some(json!(line))),
        ("column", column.map(|column| json!(column))),
        ("message", Some(json!(message))),
    ])
}

fn report_lines(report: &ImportReport, is_dry_run: bool) -> Vec<String> {
    let mut lines: Vec<String> = report.faults.iter().map(fault_line).collect();
    if report.more_faults > 0 {
        lines.push(format!("and {} more faults", report.more_faults));
    }
    if report.faults.is_empty() {
        let verb = if is_dry_run { "can be imported" } else { "were imported" };
        lines.push(format!("{} users {verb}, {} exist already", report.imported, report.existing));
    }
    lines
}

fn fault_line(ImportFault { line, column, message }: &ImportFault) -> String {
    match column {
        Some(column) => format!("line {line}: {column} {message}"),
        None => format!("line {line}: {message}"),
    }
}

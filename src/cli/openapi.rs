//! `tripgate openapi`: prints the OpenAPI document, writes the committed files, checks that they are up
//! to date, or lists the breaking changes between two documents. Needs no settings, database or network.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use serde_json::Value;

use super::{CliError, openapi_diff};
use crate::clock::Clock;
use crate::http::openapi;

/// The directory of the committed document.
const DIR: &str = "openapi";
/// The command that updates the committed document.
const UPDATE_COMMAND: &str = "cargo run -- openapi --write";

pub(super) fn command() -> Command {
    Command::new("openapi")
        .about("Print, check or write the OpenAPI document")
        .arg(
            Arg::new("form")
                .value_name("json|yaml")
                .value_parser(["json", "yaml"])
                .default_value("json")
                .help("Format to print"),
        )
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .conflicts_with_all(["form", "write"])
                .help("Check that openapi/openapi.json and openapi/openapi.yaml are up to date; exit with 1 if not"),
        )
        .arg(
            Arg::new("write")
                .long("write")
                .action(ArgAction::SetTrue)
                .conflicts_with("form")
                .help("Write both files from this program's document"),
        )
        .arg(
            Arg::new("diff")
                .long("diff")
                .value_names(["OLD", "NEW"])
                .num_args(1..=2)
                .value_parser(clap::value_parser!(PathBuf))
                .conflicts_with_all(["form", "check", "write"])
                .help("List the changes from OLD to NEW that break clients; exit with 1 if there are any [default of NEW: this program's document]"),
        )
}

/// Runs the command; `root` is the directory that contains `openapi/`.
pub(super) fn run(args: &ArgMatches, root: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    if args.get_flag("check") {
        check(root, out)
    } else if args.get_flag("write") {
        write(root, out)
    } else if let Some(paths) = args.get_many::<PathBuf>("diff") {
        let paths: Vec<&PathBuf> = paths.collect();
        diff(&paths, root, out)
    } else {
        let format = args.get_one::<String>("form").map(String::as_str);
        let text = if format == Some("yaml") { openapi::yaml() } else { openapi::json() };
        print(out, &text)
    }
}

/// Returns the paths of the committed files, each with the expected content of the file.
fn files() -> [(PathBuf, String); 2] {
    let dir = Path::new(DIR);
    [(dir.join("openapi.json"), openapi::json()), (dir.join("openapi.yaml"), openapi::yaml())]
}

fn check(root: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let mut stale = Vec::new();
    for (path, text) in files() {
        let name = path.display();
        match fs::read_to_string(root.join(&path)) {
            // Git can check files out with the platform's line endings.
            Ok(found) if found.replace("\r\n", "\n") == text => {}
            Ok(_) => stale.push(format!("{name} is out of date")),
            Err(error) => stale.push(format!("{name} is not readable ({error})")),
        }
    }
    if stale.is_empty() {
        return print(out, "the committed OpenAPI document is up to date\n");
    }
    let stale = stale.join(", ");
    Err(CliError::Failed(format!("{stale}; update it with `{UPDATE_COMMAND}`")))
}

fn write(root: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let failed = |name: &Path, error: &io::Error| {
        CliError::Failed(format!("failed to write {}: {error}", name.display()))
    };
    fs::create_dir_all(root.join(DIR)).map_err(|error| failed(Path::new(DIR), &error))?;
    for (path, text) in files() {
        fs::write(root.join(&path), text).map_err(|error| failed(&path, &error))?;
        print(out, &format!("wrote {}\n", path.display()))?;
    }
    Ok(())
}

fn diff(paths: &[&PathBuf], root: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let read = |path: &PathBuf| {
        let failed = |error: String| CliError::Failed(format!("failed to read {}: {error}", path.display()));
        let text = fs::read_to_string(root.join(path)).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str::<Value>(&text).map_err(|error| failed(error.to_string()))
    };
    let mut documents = paths.iter().map(|path| read(path));
    let old = documents.next().unwrap_or_else(|| Ok(openapi::document()))?;
    let new = documents.next().unwrap_or_else(|| Ok(openapi::document()))?;
    let breaking = openapi_diff::breaking_changes(&old, &new, Clock::system().now().date_naive());
    for line in &breaking {
        print(out, &format!("{line}\n"))?;
    }
    match breaking.len() {
        0 => print(out, "no breaking changes\n"),
        1 => Err(CliError::Failed("1 change breaks clients of the old document".to_owned())),
        count => Err(CliError::Failed(format!("{count} changes break clients of the old document"))),
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), CliError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| CliError::output(&error))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn run_with(root: &Path, args: &[&str]) -> Result<String, CliError> {
        let args = std::iter::once("openapi").chain(args.iter().copied());
        let matches = command().try_get_matches_from(args).unwrap();
        let mut out = Vec::new();
        run(&matches, root, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn written_openapi_files_pass_the_check_and_changed_files_fail_it() {
        let dir = TempDir::new().unwrap();
        let missing = run_with(dir.path(), &["--check"]).unwrap_err();
        assert!(missing.to_string().ends_with("update it with `cargo run -- openapi --write`"));
        assert_eq!(missing.code(), 1);
        run_with(dir.path(), &["--write"]).unwrap();
        run_with(dir.path(), &["--check"]).unwrap();
        fs::write(dir.path().join("openapi/openapi.yaml"), "other").unwrap();
        let stale = run_with(dir.path(), &["--check"]).unwrap_err();
        assert!(stale.to_string().starts_with("openapi/openapi.yaml is out of date;"));
    }

    #[test]
    fn the_openapi_command_prints_json_by_default() {
        let dir = TempDir::new().unwrap();
        assert_eq!(run_with(dir.path(), &[]).unwrap(), openapi::json());
        assert_eq!(run_with(dir.path(), &["yaml"]).unwrap(), openapi::yaml());
        assert!(command().try_get_matches_from(["openapi", "xml"]).is_err());
    }
}

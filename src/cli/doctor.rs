//! `tripgate doctor`: examines what a server needs, and prints one line for each check.

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::run_command::block_on;
use super::{CliError, log_escape};
use crate::admin::{self, Finding, FindingStatus};
use crate::config::Settings;

pub(super) fn command() -> Command {
    Command::new("doctor")
        .about("Check settings, database, secret, clock, other servers, mail, proxy and file modes; changes nothing")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print a JSON array"))
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let findings = block_on(admin::examine(settings))?;
    print(&findings, args.get_flag("json"), out).map_err(|error| CliError::output(&error))?;
    let failed = findings.iter().filter(|finding| finding.status == FindingStatus::Failed).count();
    if failed > 0 {
        return Err(CliError::Failed(format!("{failed} of {} checks failed", findings.len())));
    }
    Ok(())
}

fn print(findings: &[Finding], as_json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if as_json {
        let objects: Vec<_> = findings
            .iter()
            .map(|Finding { check, status, detail }| {
                json!({ "check": check, "status": status.name(), "detail": detail })
            })
            .collect();
        writeln!(out, "{}", json!(objects))?;
    } else {
        for Finding { check, status, detail } in findings {
            writeln!(out, "{:8} {check:9} {}", status.name(), log_escape::escaped(detail))?;
        }
    }
    out.flush()
}

//! `tripgate mail`: sends a test mail, and shows the mails that wait to be sent.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::output::{instant, json_flag, object};
use super::run_command::{block_on, run_command};
use super::{CliError, log_escape, logging, required};
use crate::admin;
use crate::config::Settings;
use crate::mail::{QueuedMail, TestReport};

pub(super) fn command() -> Command {
    let address = Arg::new("address").value_name("ADDRESS").required(true).help("The recipient");
    Command::new("mail")
        .about("Test the delivery of mails, and list the mails that were not delivered")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("test")
                .about("Send one mail and print the dialogue with the mail server")
                .arg(address)
                .arg(json_flag()),
        )
        .subcommand(
            Command::new("queue")
                .about("List the mails that wait and the mails that failed, with the reason")
                .arg(json_flag()),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    match args.subcommand() {
        Some(("test", args)) => test(args, settings, out),
        Some(("queue", args)) => run_command(settings, queue(args, settings), out),
        _ => Ok(()),
    }
}

/// Sends a test mail, and prints the dialogue with the mail server even if the mail was not sent.
fn test(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let _log = logging::start(settings).map_err(CliError::NoStart)?;
    let report = block_on(admin::test_mail(settings, required(args, "address")))??;
    let lines = if args.get_flag("json") { vec![report_json(&report)] } else { report_lines(&report) };
    let written = lines.iter().try_for_each(|line| writeln!(out, "{}", log_escape::escaped(line)));
    written.and_then(|()| out.flush()).map_err(|error| CliError::output(&error))?;
    report.error.map_or(Ok(()), |error| Err(CliError::Failed(format!("the mail was not sent: {error}"))))
}

fn report_json(report: &TestReport) -> String {
    object([
        ("sent", Some(json!(report.error.is_none()))),
        ("message_id", Some(json!(report.message_id))),
        ("dialogue", Some(json!(report.dialogue))),
        ("file", report.file.as_ref().map(|file| json!(file))),
        ("error", report.error.as_ref().map(|error| json!(error))),
    ])
    .to_string()
}

fn report_lines(report: &TestReport) -> Vec<String> {
    let mut lines = report.dialogue.clone();
    if let Some(file) = &report.file {
        lines.push(format!("smtp_url is not set; the mail is in {file}"));
    } else if report.error.is_none() {
        lines.push(format!("sent {}", report.message_id));
    }
    lines
}

async fn queue(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let mails = admin::list_mails(settings).await?;
    if args.get_flag("json") {
        return Ok(vec![mails.iter().map(mail_json).collect::<Value>().to_string()]);
    }
    Ok(mails.iter().map(mail_line).collect())
}

fn state(mail: &QueuedMail) -> &'static str {
    if mail.failed_at.is_some() { "failed" } else { "waiting" }
}

fn mail_json(mail: &QueuedMail) -> Value {
    object([
        ("id", Some(json!(mail.id))),
        ("state", Some(json!(state(mail)))),
        ("kind", Some(json!(mail.kind))),
        ("to", mail.to.as_ref().map(|to| json!(to))),
        ("queued_at", Some(json!(instant(mail.queued_at)))),
        ("attempts", Some(json!(mail.attempts))),
        ("next_attempt_at", mail.next_attempt_at.map(|at| json!(instant(at)))),
        ("failed_at", mail.failed_at.map(|at| json!(instant(at)))),
        ("last_error", mail.last_error.as_ref().map(|error| json!(error))),
    ])
}

fn mail_line(mail: &QueuedMail) -> String {
    let to = mail.to.as_deref().unwrap_or("(not encrypted under the configured secret)");
    let next = mail.next_attempt_at.map_or(String::new(), |at| format!(", next attempt {}", instant(at)));
    let error = mail.last_error.as_deref().map_or(String::new(), |error| format!(": {error}"));
    format!(
        "{}  {}  {}  {to}  {} failed attempts{next}{error}",
        instant(mail.queued_at),
        state(mail),
        mail.kind,
        mail.attempts
    )
}

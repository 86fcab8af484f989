//! `tripgate audit`: lists the administrative commands that were run.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::CliError;
use super::output::{instant, json_flag, object};
use super::run_command::run_command;
use crate::admin;
use crate::config::Settings;
use crate::operators::Action;

pub(super) fn command() -> Command {
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("N")
        .value_parser(value_parser!(u32).range(1..=100_000))
        .default_value("100")
        .help("The maximum number of commands");
    Command::new("audit")
        .about("List the administrative commands that were run, and who ran them, the newest first")
        .arg(limit)
        .arg(json_flag())
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let limit = args.get_one::<u32>("limit").copied().unwrap_or_default();
    let command = async {
        let actions = admin::list_actions(settings, limit.into()).await?;
        Ok(if args.get_flag("json") {
            vec![actions.iter().map(as_json).collect::<Value>().to_string()]
        } else {
            actions.iter().map(as_line).collect()
        })
    };
    run_command(settings, command, out)
}

fn as_json(action: &Action) -> Value {
    object([
        ("id", Some(json!(action.id))),
        ("at", Some(json!(instant(action.at)))),
        ("operator", Some(json!(action.operator))),
        ("command", Some(json!(action.command))),
        ("subject", action.subject.as_ref().map(|subject| json!(subject))),
    ])
}

fn as_line(Action { at, operator, command, subject, .. }: &Action) -> String {
    let subject = subject.as_deref().unwrap_or_default();
    format!("{}  {operator}  {command}  {subject}", instant(*at)).trim_end().to_owned()
}

//! `tripgate throttle`: lists the accounts, addresses and devices that the throttle slows down, and resets their
//! counters.

use std::io::Write;
use std::net::IpAddr;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};

use super::CliError;
use super::output::{instant, json_flag};
use super::run_command::run_command;
use crate::admin::{self, SlowedDownAccount, ThrottleTarget};
use crate::config::Settings;
use crate::throttle::SlowedDown;

pub(super) fn command() -> Command {
    let account = Arg::new("account")
        .long("account")
        .value_name("USER")
        .help("The id, email address or username of an account; a name without an account is accepted");
    let address = Arg::new("address")
        .long("address")
        .value_name("IP")
        .value_parser(value_parser!(IpAddr))
        .help("An IP address; for an IPv6 address, also its /64 and /48 networks");
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue).help("All accounts and addresses");
    Command::new("throttle")
        .about("Show and reset the limits that slow down accounts and addresses after failed attempts")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("List the accounts and addresses that have no free attempts left")
                .arg(json_flag()),
        )
        .subcommand(
            Command::new("clear")
                .about("Forget failed attempts, with immediate effect")
                .arg(account)
                .arg(address)
                .arg(all)
                .arg(json_flag())
                .group(ArgGroup::new("target").args(["account", "address", "all"]).required(true)),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    run_command(settings, execute(args, settings), out)
}

async fn execute(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    match args.subcommand() {
        Some(("clear", args)) => {
            let account = args.get_one::<String>("account").map(|text| ThrottleTarget::Account(text));
            let address = args.get_one::<IpAddr>("address").map(|ip| ThrottleTarget::Address(*ip));
            let target = account.or(address).unwrap_or(ThrottleTarget::All);
            let cleared = admin::clear_throttle(settings, target).await?;
            let is_json = args.get_flag("json");
            Ok(vec![if is_json {
                json!({ "cleared": cleared }).to_string()
            } else {
                format!("cleared {cleared}")
            }])
        }
        Some((_, args)) => {
            let all = admin::list_throttle(settings).await?;
            if args.get_flag("json") {
                return Ok(vec![Value::Array(all.iter().map(as_json).collect()).to_string()]);
            }
            Ok(all.iter().map(as_line).collect())
        }
        None => Ok(Vec::new()),
    }
}

fn as_json(SlowedDownAccount { slowed_down, user }: &SlowedDownAccount) -> Value {
    let SlowedDown { limit, account, address, failures, blocked_until, forgotten_at } = slowed_down;
    let mut fields = Map::new();
    fields.insert("limit".to_owned(), json!(limit));
    let optional = [
        ("user_id", user.map(|user| json!(user))),
        ("name_hash", account.map(|account| json!(format!("{account:016x}")))),
        ("address", address.as_ref().map(|address| json!(address))),
        ("blocked_until", blocked_until.map(|until| json!(instant(until)))),
    ];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    fields.insert("failures".to_owned(), json!(failures));
    fields.insert("forgotten_at".to_owned(), json!(instant(*forgotten_at)));
    Value::Object(fields)
}

fn as_line(SlowedDownAccount { slowed_down, user }: &SlowedDownAccount) -> String {
    let SlowedDown { limit, account, address, failures, blocked_until, .. } = slowed_down;
    let name = account.map(|account| format!("name_hash={account:016x}"));
    let parts = [
        Some(limit.clone()),
        user.map(|user| format!("user={user}")).or(name),
        address.clone(),
        Some(format!("failures={failures}")),
        blocked_until.map(|until| format!("blocked until {}", instant(until))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

//! `tripgate invites`: adds, lists and removes the codes that new users need to sign up if
//! `TRIPGATE_SIGNUP=invite` is set.

use std::io::Write;

use chrono::TimeDelta;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use uuid::Uuid;

use super::output::{instant, json_flag, object};
use super::run_command::run_command;
use super::{CliError, required};
use crate::admin::{self, ManageInvitesError};
use crate::config::Settings;
use crate::error_chain::error_chain;
use crate::invites::{Invite, InviteCode};

/// The maximum number of accounts that can be created with one code.
const USES_MAX: i64 = 1_000_000;
/// The maximum lifetime of a code, in seconds: 10 years.
const EXPIRES_MAX: i64 = 315_360_000;

impl From<ManageInvitesError> for CliError {
    fn from(error: ManageInvitesError) -> Self {
        match error {
            ManageInvitesError::Start(error) => error.into(),
            ManageInvitesError::Invites(error) => Self::Failed(error_chain(&error)),
        }
    }
}

pub(super) fn command() -> Command {
    let uses = Arg::new("uses")
        .long("uses")
        .value_name("N")
        .value_parser(value_parser!(u32).range(1..=USES_MAX))
        .default_value("1")
        .help("How many accounts can be created with the code");
    let expires_secs = Arg::new("expires_secs")
        .long("expires-secs")
        .value_name("N")
        .value_parser(value_parser!(i64).range(1..=EXPIRES_MAX))
        .help("For how many seconds the code is valid; without it, the code does not expire");
    let id = Arg::new("id").value_name("ID").required(true).help("The id of the invite, from `invites list`");
    Command::new("invites")
        .about("Manage the codes that new users need to sign up if TRIPGATE_SIGNUP=invite is set")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("add")
                .about("Create a code and print it; it is shown only once")
                .arg(uses)
                .arg(expires_secs)
                .arg(json_flag()),
        )
        .subcommand(Command::new("list").about("List all invites, without their codes").arg(json_flag()))
        .subcommand(
            Command::new("remove").about("Remove an invite, with immediate effect").arg(id).arg(json_flag()),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    run_command(settings, execute(args, settings), out)
}

async fn execute(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    match args.subcommand() {
        Some(("add", args)) => {
            let uses = args.get_one::<u32>("uses").copied().unwrap_or(1);
            let ttl = args.get_one::<i64>("expires_secs").copied().map(TimeDelta::seconds);
            let (invite, code) = admin::add_invite(settings, uses, ttl).await?;
            if args.get_flag("json") {
                return Ok(vec![as_json(&invite, Some(&code)).to_string()]);
            }
            Ok(vec![format!("id    {}", invite.id), format!("code  {code}")])
        }
        Some(("remove", args)) => {
            // If the text is not a UUID, use the nil UUID, which no invite has.
            let id = required(args, "id").parse::<Uuid>().unwrap_or_default();
            admin::remove_invite(settings, id).await?;
            let is_json = args.get_flag("json");
            Ok(vec![if is_json { json!({ "removed": id }).to_string() } else { format!("removed {id}") }])
        }
        Some((_, args)) => {
            let all = admin::list_invites(settings).await?;
            if args.get_flag("json") {
                let all = all.iter().map(|invite| as_json(invite, None)).collect();
                return Ok(vec![Value::Array(all).to_string()]);
            }
            Ok(all.iter().map(as_line).collect())
        }
        None => Ok(Vec::new()),
    }
}

fn as_json(invite: &Invite, code: Option<&InviteCode>) -> Value {
    let Invite { id, uses, used, created_at, expires_at } = invite;
    object([
        ("id", Some(json!(id))),
        ("code", code.map(|code| json!(code.to_string()))),
        ("uses", Some(json!(uses))),
        ("used", Some(json!(used))),
        ("created_at", Some(json!(instant(*created_at)))),
        ("expires_at", expires_at.map(|expires_at| json!(instant(expires_at)))),
    ])
}

fn as_line(invite: &Invite) -> String {
    let Invite { id, uses, used, created_at, expires_at } = invite;
    let expiry =
        expires_at.map_or_else(|| "never expires".to_owned(), |at| format!("expires {}", instant(at)));
    format!("{id}  {}  used {used} of {uses}  {expiry}", instant(*created_at))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_line_for_an_invite_shows_its_uses_and_its_expiry() {
        let created_at = DateTime::from_timestamp(1_772_440_200, 0).unwrap();
        let invite = Invite { id: Uuid::nil(), uses: 3, used: 1, created_at, expires_at: None };
        let line = as_line(&invite);
        assert!(line.ends_with("  2026-03-02T08:30:00.000Z  used 1 of 3  never expires"), "{line}");
        let expires_at = Some(created_at + TimeDelta::hours(1));
        let line = as_line(&Invite { expires_at, ..invite });
        assert!(line.ends_with("expires 2026-03-02T09:30:00.000Z"), "{line}");
    }
}

//! `tripgate users`: manages the accounts of users while servers run.

mod import;
mod output;

use std::io::{self, Read, Write};

use chrono::TimeDelta;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use uuid::Uuid;

use super::output::{instant, json_flag};
use super::run_command::run_command;
use super::{CliError, required};
use crate::accounts::UserFilter;
use crate::admin::{self, Change, ManageUsersError, NewUser};
use crate::config::Settings;
use crate::error_chain::error_chain;

/// The maximum number of bytes that are read as a password. A longer password is cut off, but the limit of
/// the policy is lower, so the policy rejects it.
const PASSWORD_READ_MAX: u64 = 4096;

impl From<ManageUsersError> for CliError {
    fn from(error: ManageUsersError) -> Self {
        match error {
            ManageUsersError::Start(error) => error.into(),
            error => Self::Failed(error_chain(&error)),
        }
    }
}

fn value(name: &'static str, placeholder: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

/// Returns a subcommand for one user.
fn of_user(name: &'static str, about: &'static str) -> Command {
    let user =
        Arg::new("user").value_name("USER").required(true).help("An id, an email address or a username");
    Command::new(name).about(about).arg(user).arg(json_flag())
}

pub(super) fn command() -> Command {
    Command::new("users")
        .about("Manage accounts: list, add, disable, delete, end sessions, reset passwords")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list_command())
        .subcommand(of_user("show", "Show an account"))
        .subcommand(add_command())
        .subcommand(import::command())
        .subcommand(of_user(
            "disable",
            "Reject every login and every credential of the account; deletes nothing",
        ))
        .subcommand(of_user("enable", "Accept logins to a disabled account again"))
        .subcommand(of_user("confirm", "Confirm the email address"))
        .subcommand(reset_command())
        .subcommand(of_user("sessions", "List the active sessions"))
        .subcommand(of_user("end-sessions", "End all sessions and access tokens"))
        .subcommand(of_user("mfa-reset", "Remove the second factors and passkeys and end all sessions"))
        .subcommand(mint_command())
        .subcommand(
            of_user("delete", "Delete the account and all its data")
                .arg(flag("yes").help("Delete it; without this flag nothing is deleted")),
        )
}

fn list_command() -> Command {
    Command::new("list")
        .about("List accounts in the order of their ids")
        .arg(
            value("filter", "TEXT")
                .help("Only accounts whose email address, username or display name contains this text"),
        )
        .arg(flag("disabled").help("Only disabled accounts"))
        .arg(flag("unconfirmed").help("Only accounts whose email address is not confirmed"))
        .arg(
            value("limit", "N")
                .value_parser(value_parser!(u32).range(1..=100_000))
                .default_value("1000")
                .help("The maximum number of accounts"),
        )
        .arg(
            value("after", "ID")
                .value_parser(value_parser!(Uuid))
                .help("Continue after this id, the last one of the previous list"),
        )
        .arg(json_flag())
}

fn add_command() -> Command {
    Command::new("add")
        .about("Create an account, also if sign-up is closed")
        .arg(value("email", "EMAIL").help("The email address"))
        .arg(value("username", "USERNAME").help("The username"))
        .arg(value("display-name", "NAME").help("The name that apps display"))
        .arg(flag("confirmed").help("Mark the email address as confirmed"))
        .arg(flag("password-stdin").required(true).help("Read the password from the first line of the input"))
        .arg(json_flag())
}

fn reset_command() -> Command {
    of_user("reset-password", "Print a link that lets the user choose a password").arg(
        value("ttl-secs", "N")
            .value_parser(value_parser!(u32).range(60..=604_800))
            .default_value("86400")
            .help("The lifetime of the link, in seconds"),
    )
}

fn mint_command() -> Command {
    of_user("mint", "Print an access token for support or tests")
        .arg(value("scope", "SCOPES").help("Scopes separated by spaces [default: trips:read trips:write]"))
        .arg(
            value("ttl-secs", "N")
                .value_parser(value_parser!(u32).range(1..=604_800))
                .help("The lifetime of the token, in seconds [default: the setting access_ttl_secs]"),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let Some((name, args)) = args.subcommand() else { return Ok(()) };
    if name == "import" {
        return import::run(args, settings, out);
    }
    run_command(settings, execute(name, args, settings), out)
}

async fn execute(name: &str, args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let json = args.get_flag("json");
    match name {
        "list" => list(args, settings).await,
        "add" => {
            let user = admin::add_user(settings, new_user(args)?).await?;
            Ok(if json { vec![output::user_json(&user).to_string()] } else { vec![output::user_line(&user)] })
        }
        "show" => {
            let details = admin::show_user(settings, required(args, "user")).await?;
            Ok(if json {
                vec![output::details_json(&details).to_string()]
            } else {
                output::details_lines(&details)
            })
        }
        "sessions" => {
            let sessions = admin::list_user_sessions(settings, required(args, "user")).await?;
            Ok(if json {
                vec![sessions.iter().map(output::session_json).collect::<Value>().to_string()]
            } else {
                sessions.iter().map(output::session_line).collect()
            })
        }
        "reset-password" => reset_password(args, settings).await,
        "mint" => mint(args, settings).await,
        name => change(name, args, settings).await,
    }
}

async fn list(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let filter = UserFilter {
        text: args.get_one::<String>("filter").cloned(),
        only_disabled: args.get_flag("disabled"),
        only_unconfirmed: args.get_flag("unconfirmed"),
    };
    let after = args.get_one::<Uuid>("after").copied().unwrap_or_default();
    let limit = args.get_one::<u32>("limit").copied().unwrap_or_default();
    let page = admin::list_users(settings, filter, after, limit).await?;
    if let Some(last) = page.items.last().filter(|_| page.has_more) {
        // Print this hint on standard error, so that the output contains only the list.
        let _ = writeln!(io::stderr(), "there are more accounts: continue with --after {}", last.id);
    }
    if args.get_flag("json") {
        return Ok(vec![page.items.iter().map(output::user_json).collect::<Value>().to_string()]);
    }
    Ok(page.items.iter().map(output::user_line).collect())
}

fn new_user(args: &ArgMatches) -> Result<NewUser, CliError> {
    let text = |name| args.get_one::<String>(name).cloned();
    Ok(NewUser {
        email: text("email"),
        username: text("username"),
        display_name: text("display-name"),
        is_confirmed: args.get_flag("confirmed"),
        password: read_password()?,
    })
}

/// Returns the first line of the standard input.
fn read_password() -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(PASSWORD_READ_MAX).read_to_end(&mut bytes);
    read.map_err(|error| CliError::Failed(format!("failed to read the password: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::Failed("the password is not valid UTF-8".to_owned()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn reset_password(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let secs = args.get_one::<u32>("ttl-secs").copied().unwrap_or_default();
    let lifetime = TimeDelta::seconds(secs.into());
    let created = admin::create_reset_link(settings, required(args, "user"), lifetime).await?;
    let expires_at = instant(created.expires_at);
    Ok(if args.get_flag("json") {
        vec![json!({ "user_id": created.user, "link": created.link, "expires_at": expires_at }).to_string()]
    } else {
        vec![created.link, format!("The link works once, until {expires_at}.")]
    })
}

async fn mint(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let scope = args.get_one::<String>("scope").map(String::as_str);
    let ttl_secs = args.get_one::<u32>("ttl-secs").copied();
    let token = admin::mint_token(settings, required(args, "user"), scope, ttl_secs).await?;
    Ok(vec![if args.get_flag("json") {
        json!({
            "user_id": token.user,
            "token_type": "Bearer",
            "access_token": token.minted.token,
            "expires_in": token.minted.expires_in_secs,
            "expires_at": instant(token.minted.expires_at),
            "scope": token.scopes.to_string(),
        })
        .to_string()
    } else {
        token.minted.token
    }])
}

async fn change(name: &str, args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    let change = match name {
        "disable" => Change::Disable,
        "enable" => Change::Enable,
        "confirm" => Change::Confirm,
        "end-sessions" => Change::EndSessions,
        "mfa-reset" => Change::ResetMfa,
        _ if args.get_flag("yes") => Change::Delete,
        _ => {
            return Err(CliError::Failed(
                "deleting an account deletes all data of its user: add --yes if you want that".to_owned(),
            ));
        }
    };
    let changed = admin::change_user(settings, required(args, "user"), change).await?;
    Ok(vec![if args.get_flag("json") {
        output::changed_json(change, &changed).to_string()
    } else {
        output::changed_line(change, &changed)
    }])
}

//! `tripgate keys`: lists, rotates and revokes the signing keys while servers run.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Arg, ArgMatches, Command};

use super::run_command::run_command;
use super::{CliError, required};
use crate::admin;
use crate::config::Settings;
use crate::tokens::KeySummary;

pub(super) fn command() -> Command {
    Command::new("keys")
        .about("List, rotate and revoke the keys that sign tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("List all keys, without their private parts"))
        .subcommand(
            Command::new("rotate").about(
                "Sign with the next key now, before the automatic rotation every 30 days; issued tokens stay valid",
            ),
        )
        .subcommand(
            Command::new("revoke")
                .about("Emergency: remove a key; all tokens that it signed become invalid within a second")
                .arg(Arg::new("kid").value_name("KID").required(true).help("The key id, from `keys list`")),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    run_command(settings, execute(args, settings), out)
}

async fn execute(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    match args.subcommand() {
        Some(("rotate", _)) => {
            let kid = admin::rotate_key(settings).await?;
            Ok(vec![format!("{kid} signs from now on")])
        }
        Some(("revoke", args)) => {
            let kid = required(args, "kid");
            admin::revoke_key(settings, kid).await?;
            Ok(vec![format!(
                "{kid} was removed; within a second, no server accepts the tokens that it signed"
            )])
        }
        _ => Ok(table(&admin::list_keys(settings).await?)),
    }
}

/// Formats the keys as a table.
fn table(keys: &[KeySummary]) -> Vec<String> {
    let at = |at: Option<DateTime<Utc>>| {
        at.map_or("-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    let line = |[kid, alg, status, created, active, retired, deleted]: [&str; 7]| {
        let line =
            format!("{kid:43}  {alg:5}  {status:7}  {created:20}  {active:20}  {retired:20}  {deleted}");
        line.trim_end().to_owned()
    };
    let head = line(["kid", "alg", "status", "created", "activated", "retired", "deleted"]);
    let row = |key: &KeySummary| {
        let times = [Some(key.created_at), key.activated_at, key.retired_at, key.delete_at].map(at);
        let [created, active, retired, deleted] = times.each_ref().map(String::as_str);
        line([&key.kid, &key.alg, key.status.name(), created, active, retired, deleted])
    };
    std::iter::once(head).chain(keys.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::KeyStatus;

    #[test]
    fn the_columns_of_the_table_of_signing_keys_are_aligned() {
        let at = DateTime::from_timestamp(1_772_440_200, 5_000_000).unwrap();
        let key = KeySummary {
            kid: "k".repeat(43),
            alg: "ES256".to_owned(),
            status: KeyStatus::Active,
            created_at: at,
            activated_at: Some(at),
            retired_at: None,
            delete_at: None,
        };
        let time = "2026-03-02T08:30:00Z";
        assert_eq!(
            table(&[key]),
            [
                format!(
                    "{:43}  alg    status   created               activated             \
                     retired               deleted",
                    "kid"
                ),
                format!("{}  ES256  active   {time}  {time}  -                     -", "k".repeat(43)),
            ]
        );
    }
}

//! `tripgate clients`: adds, lists and removes the credentials of other services.

use std::io::Write;

use chrono::SecondsFormat;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::run_command::run_command;
use super::{CliError, required};
use crate::admin;
use crate::clients::Client;
use crate::config::Settings;

pub(super) fn command() -> Command {
    let id = Arg::new("id").value_name("ID").required(true).help("The client_id, from `clients list`");
    let name =
        Arg::new("name").value_name("NAME").required(true).help("A name for the service; must be unique");
    let create = Arg::new("create")
        .long("create")
        .action(ArgAction::SetTrue)
        .help("Create the database if there is none, before the first start of the server");
    Command::new("clients")
        .about("Manage the services that may introspect and revoke tokens")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("add")
                .about("Create credentials and print them; the secret is shown only once")
                .arg(name)
                .arg(create),
        )
        .subcommand(Command::new("list").about("List all credentials: client_id, time of creation, name"))
        .subcommand(Command::new("remove").about("Remove credentials, with immediate effect").arg(id))
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    run_command(settings, execute(args, settings), out)
}

async fn execute(args: &ArgMatches, settings: &Settings) -> Result<Vec<String>, CliError> {
    match args.subcommand() {
        Some(("add", args)) => {
            let client = admin::add_client(settings, required(args, "name"), args.get_flag("create")).await?;
            Ok(vec![format!("client_id      {}", client.id), format!("client_secret  {}", client.secret)])
        }
        Some(("remove", args)) => {
            let id = required(args, "id");
            admin::remove_client(settings, id).await?;
            Ok(vec![format!("removed {id}")])
        }
        _ => Ok(admin::list_clients(settings).await?.iter().map(client_line).collect()),
    }
}

fn client_line(client: &Client) -> String {
    let created_at = client.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("{}  {created_at}  {}", client.id, client.name)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn the_line_for_a_client_shows_its_id_creation_time_and_name() {
        let created_at = DateTime::from_timestamp(1_772_440_200, 5_000_000).unwrap();
        let client = Client { id: "0195".to_owned(), name: "the gate".to_owned(), created_at };
        assert_eq!(client_line(&client), "0195  2026-03-02T08:30:00Z  the gate");
    }
}

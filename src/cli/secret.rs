//! `tripgate secret`: changes the master secret while servers run. All sessions stay valid.

use std::io::Write;

use clap::{ArgMatches, Command};

use super::CliError;
use super::run_command::run_command;
use crate::admin::{self, SecretPreparation, SecretRotation};
use crate::config::Settings;

const SECS_PER_DAY: u32 = 86_400;

pub(super) fn command() -> Command {
    Command::new("secret")
        .about("Change the master secret")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("prepare").about(
            "Add the next secret beside the current one, so that every replica can load it before it is used",
        ))
        .subcommand(
            Command::new("rotate")
                .about("Replace the secret and re-encrypt the keys; the previous secret stays accepted"),
        )
}

pub(super) fn run(args: &ArgMatches, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let command = async {
        Ok(match args.subcommand() {
            Some(("prepare", _)) => preparation_lines(&admin::prepare_secret(settings).await?),
            _ => rotation_lines(&admin::rotate_secret(settings).await?),
        })
    };
    run_command(settings, command, out)
}

fn preparation_lines(preparation: &SecretPreparation) -> Vec<String> {
    match preparation {
        SecretPreparation::Prepared { path } => vec![
            format!(
                "The next secret is in {}. Copy the file to every replica, and restart the replicas.",
                path.display()
            ),
            "When all replicas have restarted, run `tripgate secret rotate`.".to_owned(),
        ],
        SecretPreparation::AlreadyPrepared { path } => {
            vec![format!("{} contains the next secret already; nothing was changed.", path.display())]
        }
    }
}

fn rotation_lines(rotation: &SecretRotation) -> Vec<String> {
    match rotation {
        SecretRotation::CompletedEarlierRotation { keys } => vec![
            format!(
                "{keys} keys were still encrypted under an old secret and are now encrypted under the \
                 current one."
            ),
            "The secret itself was not changed. Run this command again to replace it.".to_owned(),
        ],
        SecretRotation::Rotated { path, keys, was_prepared, previous_needed_secs } => {
            let restart = if *was_prepared {
                "Copy the file to every replica and restart them one after the other."
            } else {
                "Restart the server now. If there are several servers, stop all, copy the file to each, and \
                 start them. Next time, use `tripgate secret prepare` to avoid the downtime."
            };
            let days = previous_needed_secs.div_ceil(SECS_PER_DAY);
            vec![
                format!(
                    "{} contains a new secret, and the previous one on a line that begins with `old `.",
                    path.display()
                ),
                format!("{keys} keys are encrypted under the new secret. {restart}"),
                format!(
                    "Users stay logged in. {days} days after the restart, the `old` line can be deleted. Backups \
                     that were encrypted before now need this line: store a copy of it as long as you keep these \
                     backups."
                ),
            ]
        }
        SecretRotation::ReencryptedConfigured { keys } => vec![
            format!("{keys} keys were re-encrypted under the first line of TRIPGATE_SECRET."),
            "To replace the secret, put the new one on the first line and the previous one after `old ` on a \
             line below, restart every server, and run this command again."
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_days_until_the_previous_secret_can_be_deleted_are_rounded_up() {
        let rotation = SecretRotation::Rotated {
            path: "data/secret".into(),
            keys: 2,
            was_prepared: true,
            previous_needed_secs: 7 * SECS_PER_DAY + 1,
        };
        assert_eq!(
            rotation_lines(&rotation),
            [
                "data/secret contains a new secret, and the previous one on a line that begins with `old `.",
                "2 keys are encrypted under the new secret. Copy the file to every replica and restart them \
                 one after the other.",
                "Users stay logged in. 8 days after the restart, the `old` line can be deleted. Backups that \
                 were encrypted before now need this line: store a copy of it as long as you keep these backups.",
            ]
        );
    }
}

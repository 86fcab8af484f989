//! The commands for the signing keys and the master secret. They change the database directly; running
//! servers poll it twice a second.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::app::{StartError, master_secret, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db;
use crate::secrets::{MasterSecret, SecretFile};
use crate::tokens::{self, KeyRotation, KeySummary, TokensError};

/// A command for the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Lists the keys, without private parts.
    List,
    /// Activates the standby key immediately.
    Rotate,
    /// Removes the key with this id immediately, and invalidates every token that it signed.
    Revoke(String),
}

/// A command for the master secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretCommand {
    /// Adds the next secret to the file.
    Prepare,
    /// Replaces the current secret.
    Rotate,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The command is not possible. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The database, the secret or the settings can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<TokensError> for KeysError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NoSigningKey => Self::Refused(
                "this master secret does not decrypt the signing keys; nothing was changed".to_owned(),
            ),
            TokensError::ConcurrentRotation => Self::Refused(format!("{error}; nothing was changed here")),
            other => Self::Start(other.into()),
        }
    }
}

/// Executes a command for the signing keys. Returns lines for the operator.
///
/// # Errors
///
/// [`KeysError`].
pub async fn keys(settings: &Settings, command: KeyCommand) -> Result<Vec<String>, KeysError> {
    set_umask();
    match command {
        KeyCommand::List => list(settings).await,
        KeyCommand::Rotate => {
            let secret = known_secret(settings)?;
            let kid = with_keys(settings, &secret, async |keys| Ok(keys.rotate().await?)).await?;
            Ok(vec![format!("{kid} signs from now on")])
        }
        KeyCommand::Revoke(kid) => {
            let secret = known_secret(settings)?;
            let done = with_keys(settings, &secret, async |keys| Ok(keys.revoke(&kid).await?)).await?;
            if !done {
                return Err(KeysError::Refused(format!("there is no key {kid:?}")));
            }
            Ok(vec![format!(
                "{kid} was removed; within a second, no server accepts the tokens that it signed"
            )])
        }
    }
}

/// Lists the keys. No secret is needed, because private parts are not shown.
async fn list(settings: &Settings) -> Result<Vec<String>, KeysError> {
    let db = db::open_existing(settings.database_url.expose()).await.map_err(StartError::from)?;
    let rows = tokens::list_keys(&db).await;
    db.close().await;
    Ok(table(&rows?))
}

/// Executes a command for the master secret. Returns lines for the operator.
///
/// # Errors
///
/// [`KeysError`].
pub async fn secrets(settings: &Settings, command: SecretCommand) -> Result<Vec<String>, KeysError> {
    set_umask();
    if settings.secret.is_some() {
        return configured_secret(settings, command).await;
    }
    let failed = |error| KeysError::from(StartError::Secret(error));
    let mut file = SecretFile::open(&settings.secret_file).map_err(failed)?;
    let path = settings.secret_file.display();
    if command == SecretCommand::Prepare {
        return Ok(if file.prepare().map_err(failed)? {
            vec![
                format!("The next secret is in {path}. Copy the file to every replica and restart them;"),
                "when all replicas have restarted, run `tripgate secret rotate`.".to_owned(),
            ]
        } else {
            vec![format!("{path} contains the next secret already; nothing was changed.")]
        });
    }
    // Before the file changes, check that its secrets decrypt the keys, and complete an interrupted rotation.
    let known = MasterSecret::from(file.secrets().clone());
    let unfinished = with_keys(settings, &known, async |keys| Ok(keys.reencrypt().await?)).await?;
    if unfinished > 0 {
        return Ok(vec![
            format!(
                "{unfinished} keys were still encrypted under an old secret and are now encrypted under the current one."
            ),
            "The secret itself was not changed. Run this command again to replace it.".to_owned(),
        ]);
    }
    // Write the file first, so that both secrets are known if the next step fails.
    let was_prepared = file.advance().map_err(failed)?;
    let known = MasterSecret::from(file.secrets().clone());
    let reencrypted = with_keys(settings, &known, async |keys| Ok(keys.reencrypt().await?)).await?;
    let restart = if was_prepared {
        "Copy the file to every replica and restart them one after the other."
    } else {
        "Restart the server now. If there are several servers, stop all, copy the file to each, and start them. \
         Next time, use `tripgate secret prepare` to avoid the downtime."
    };
    let days = settings.refresh_idle_secs.div_ceil(86_400);
    Ok(vec![
        format!("{path} contains a new secret, and the previous one on a line that begins with `old `."),
        format!("{reencrypted} keys are encrypted under the new secret. {restart}"),
        format!("Users stay logged in. {days} days after the restart, the `old` line can be deleted."),
    ])
}

/// Handles a secret from the environment, which only the operator can change.
async fn configured_secret(settings: &Settings, command: SecretCommand) -> Result<Vec<String>, KeysError> {
    if command == SecretCommand::Prepare {
        return Err(KeysError::Refused(
            "TRIPGATE_SECRET is set: add a second line to it, `next ` and a new secret, and restart every server"
                .to_owned(),
        ));
    }
    let secret = known_secret(settings)?;
    let reencrypted = with_keys(settings, &secret, async |keys| Ok(keys.reencrypt().await?)).await?;
    Ok(vec![
        format!("{reencrypted} keys were reencrypted under the first line of TRIPGATE_SECRET."),
        "To replace the secret, put the new one on the first line and the previous one after `old ` on a line below, \
         restart every server, and run this command again."
            .to_owned(),
    ])
}

/// Returns the existing master secret. A newly created one would not decrypt the keys.
fn known_secret(settings: &Settings) -> Result<MasterSecret, StartError> {
    match settings.secret {
        Some(_) => Ok(master_secret(settings)?),
        None => Ok(MasterSecret::read(&settings.secret_file)?),
    }
}

/// Opens the database and runs `work` on its keys.
async fn with_keys<T>(
    settings: &Settings,
    secret: &MasterSecret,
    work: impl AsyncFnOnce(KeyRotation) -> Result<T, KeysError>,
) -> Result<T, KeysError> {
    let db = db::open_existing(settings.database_url.expose()).await.map_err(StartError::from)?;
    let done = work(KeyRotation::new(&db, Clock::system(), secret)).await;
    db.close().await;
    done
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

//! What an operator does to the keys and the master secret, beside servers that run: straight on the
//! database, which they read twice a second.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{StartError, master_secret, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::db;
use crate::secrets::{MasterSecret, SecretFile};
use crate::tokens::{self, KeyRotation, KeySummary, TokensError};

/// What to do with the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Show them, without anything private.
    List,
    /// Let the standby sign at once.
    Rotate,
    /// Remove the key of this name at once, and every token that it signed.
    Revoke(String),
}

/// What to do with the master secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretCommand {
    /// Make the next one known.
    Prepare,
    /// Replace the current one.
    Rotate,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// As asked it can't be: nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The database, the secret or the settings.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<TokensError> for KeysError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::NoSigningKey => Self::Refused(
                "the master secret at hand does not open the signing keys; nothing was changed".to_owned(),
            ),
            TokensError::ConcurrentRotation => Self::Refused(format!("{error}; nothing was changed here")),
            other => Self::Start(other.into()),
        }
    }
}

/// Does it; a line for each thing to tell.
///
/// # Errors
///
/// [`KeysError`].
pub async fn keys(settings: &Settings, what: KeyCommand) -> Result<Vec<String>, KeysError> {
    set_umask();
    match what {
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
            Ok(vec![format!("{kid} is gone: within a second no server takes a token that it signed")])
        }
    }
}

/// Asks for no secret: there is nothing private to show.
async fn list(settings: &Settings) -> Result<Vec<String>, KeysError> {
    let db = db::open_existing(settings.database_url.expose()).await.map_err(StartError::from)?;
    let rows = tokens::list_keys(&db).await;
    db.close().await;
    Ok(table(&rows?))
}

/// Changes the master secret; a line for each thing to tell.
///
/// # Errors
///
/// [`KeysError`].
pub async fn secrets(settings: &Settings, what: SecretCommand) -> Result<Vec<String>, KeysError> {
    set_umask();
    if settings.secret.is_some() {
        return given_secret(settings, what).await;
    }
    let failed = |error| KeysError::from(StartError::Secret(error));
    let mut file = SecretFile::open(&settings.secret_file).map_err(failed)?;
    let path = settings.secret_file.display();
    if what == SecretCommand::Prepare {
        return Ok(if file.prepare().map_err(failed)? {
            vec![
                format!(
                    "The next secret is in {path}. Now let every replica have this file and restart them;"
                ),
                "when all have done so, run `tripgate secret rotate`.".to_owned(),
            ]
        } else {
            vec![format!("The next secret is in {path} already; nothing was changed.")]
        });
    }
    // Before anything is written: do the secrets at hand open the keys, and was an earlier run cut short?
    let known = MasterSecret::from(file.lines().clone());
    let unfinished = with_keys(settings, &known, async |keys| Ok(keys.reencrypt().await?)).await?;
    if unfinished > 0 {
        return Ok(vec![
            format!("{unfinished} keys were still encrypted under a former secret and are not any more."),
            "The secret itself is as it was: run this again for a new one.".to_owned(),
        ]);
    }
    // The file first: whatever happens next, both secrets are known.
    let was_prepared = file.advance().map_err(failed)?;
    let known = MasterSecret::from(file.lines().clone());
    let resealed = with_keys(settings, &known, async |keys| Ok(keys.reencrypt().await?)).await?;
    let restart = if was_prepared {
        "Let every replica have this file and restart them, one after the other."
    } else {
        "Restart the server now. If there are several, stop all, give each this file, and start them: \
         next time `tripgate secret prepare` spares you that."
    };
    let days = settings.refresh_idle_secs.div_ceil(86_400);
    Ok(vec![
        format!("{path} has a new secret, and the former one on a line that begins with `old `."),
        format!("{resealed} keys are encrypted under the new one. {restart}"),
        format!("Nobody is logged out. {days} days after the restart the `old` line may go."),
    ])
}

/// A secret that does not stand in a file of ours is the operator's to change.
async fn given_secret(settings: &Settings, what: SecretCommand) -> Result<Vec<String>, KeysError> {
    if what == SecretCommand::Prepare {
        return Err(KeysError::Refused(
            "TRIPGATE_SECRET is set: add a second line to it, `next ` and a new secret, and restart every server"
                .to_owned(),
        ));
    }
    let secret = known_secret(settings)?;
    let resealed = with_keys(settings, &secret, async |keys| Ok(keys.reencrypt().await?)).await?;
    Ok(vec![
        format!("{resealed} keys were encrypted anew under the first line of TRIPGATE_SECRET."),
        "For a new secret put it on the first line and the former one behind `old ` on a line below, \
         restart every server, and run this again."
            .to_owned(),
    ])
}

/// As it is: beside a server a new one would be a wrong one.
fn known_secret(settings: &Settings) -> Result<MasterSecret, StartError> {
    match settings.secret {
        Some(_) => Ok(master_secret(settings)?),
        None => Ok(MasterSecret::read(&settings.secret_file)?),
    }
}

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

fn table(keys: &[KeySummary]) -> Vec<String> {
    let at = |at: Option<DateTime<Utc>>| {
        at.map_or("-".to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    let line = |[kid, alg, status, made, active, retired, gone]: [&str; 7]| {
        let line = format!("{kid:43}  {alg:5}  {status:7}  {made:20}  {active:20}  {retired:20}  {gone}");
        line.trim_end().to_owned()
    };
    let head = line(["kid", "alg", "status", "created", "activated", "retired", "gone"]);
    let row = |key: &KeySummary| {
        let times = [Some(key.created_at), key.activated_at, key.retired_at, key.delete_at].map(at);
        let [made, active, retired, gone] = times.each_ref().map(String::as_str);
        line([&key.kid, &key.alg, key.status.name(), made, active, retired, gone])
    };
    std::iter::once(head).chain(keys.iter().map(row)).collect()
}

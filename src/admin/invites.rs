//! Adds, lists and removes invites.

use chrono::TimeDelta;
use uuid::Uuid;

use super::actions::record_done;
use super::open_existing;
use crate::app::{StartError, set_umask};
use crate::clock::Clock;
use crate::config::Settings;
use crate::invites::{Invite, InviteCode, Invites, InvitesError};

/// Why a command for the invites failed.
#[derive(Debug, thiserror::Error)]
pub enum ManageInvitesError {
    /// The database or the data directory can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The invites can't be read or changed as requested.
    #[error(transparent)]
    Invites(#[from] InvitesError),
}

/// Creates an invite for `uses` accounts, and returns its code.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn add_invite(
    settings: &Settings,
    uses: u32,
    ttl: Option<TimeDelta>,
) -> Result<(Invite, InviteCode), ManageInvitesError> {
    let added = with_invites(settings, async |invites| invites.add(uses, ttl).await).await?;
    record_done(settings, "invites add", Some(&added.0.id.to_string())).await;
    Ok(added)
}

/// Returns all invites, the oldest first.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn list_invites(settings: &Settings) -> Result<Vec<Invite>, ManageInvitesError> {
    with_invites(settings, async |invites| invites.list().await).await
}

/// Removes the invite with this id; its code is refused from now on.
///
/// # Errors
///
/// [`ManageInvitesError`].
pub async fn remove_invite(settings: &Settings, id: Uuid) -> Result<(), ManageInvitesError> {
    with_invites(settings, async |invites| invites.remove(id).await).await?;
    record_done(settings, "invites remove", Some(&id.to_string())).await;
    Ok(())
}

/// Runs `work` on the invites and closes the database.
async fn with_invites<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(Invites) -> Result<T, InvitesError>,
) -> Result<T, ManageInvitesError> {
    set_umask();
    let db = open_existing(settings).await?;
    let result = work(Invites::new(db.clone(), Clock::system())).await;
    db.close().await;
    Ok(result?)
}
